# Finds LibTorch: a folder with include/ and lib/, from FERRY_TORCH_DIR, else the torch of the user's own Python, else the
# wheel that setup/install unpacked. torch's own find_package needs a CUDA toolkit even for the CPU, so: own targets.
#   ferry_torch        what to link
#   FERRY_TORCH_CUDA   whether its CUDA part can be built on
include_guard(GLOBAL)

set(FERRY_TORCH_DIR "" CACHE PATH "LibTorch: a folder with include and lib, such as the one of Python's torch package")

# ferry_torch_suits(ROOT RESULT): headers and library are there, with the C++ ABI of today's compilers.
function(ferry_torch_suits root result)
  set(${result} OFF PARENT_SCOPE)
  if(root AND EXISTS "${root}/include/ATen/ATen.h" AND EXISTS "${root}/lib/libtorch_cpu.so" AND EXISTS "${root}/lib/libc10.so")
    file(STRINGS "${root}/lib/libc10.so" new_abi REGEX "NSt7__cxx1112basic_string" LIMIT_COUNT 1)
    if(new_abi)
      set(${result} ON PARENT_SCOPE)
    endif()
  endif()
endfunction()

function(ferry_find_torch)
  set(root "${FERRY_TORCH_DIR}")
  if(NOT root)
    find_program(FERRY_PYTHON NAMES python3)
    if(FERRY_PYTHON)  # finds the package without importing it, which would take seconds
      execute_process(COMMAND "${FERRY_PYTHON}" -c
        "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')"
        OUTPUT_VARIABLE root OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    endif()
    ferry_torch_suits("${root}" suits)
    if(NOT suits)
      set(root "${FERRY_DEPS_DIR}/wheels/torch")
    endif()
  endif()
  ferry_torch_suits("${root}" suits)
  if(NOT suits)
    return()
  endif()
  add_library(ferry_torch INTERFACE)
  target_include_directories(ferry_torch SYSTEM INTERFACE "${root}/include" "${root}/include/torch/csrc/api/include")
  # Not libtorch.so: it would pull in the CUDA part where only the CPU is wanted.
  set(libraries "${root}/lib/libtorch_cpu.so" "${root}/lib/libc10.so")
  set(cuda OFF)
  if(EXISTS "${root}/lib/libtorch_cuda.so" AND EXISTS "${root}/include/ATen/cuda/CUDAGraph.h" AND FERRY_CUDA_INCLUDE_DIR)
    set(cuda ON)
    list(APPEND libraries "${root}/lib/libtorch_cuda.so" "${root}/lib/libc10_cuda.so")
    target_include_directories(ferry_torch SYSTEM INTERFACE "${FERRY_CUDA_INCLUDE_DIR}")
  endif()
  # The CUDA part registers itself when it is loaded; no symbol of it need be used.
  target_link_libraries(ferry_torch INTERFACE -Wl,--no-as-needed ${libraries} -Wl,--as-needed)
  # The libraries find CUDA's through their own RPATH when they run; the linker need not look for those.
  target_link_options(ferry_torch INTERFACE -Wl,--allow-shlib-undefined)
  set(FERRY_TORCH_CUDA ${cuda} PARENT_SCOPE)
  set(FERRY_TORCH_ROOT "${root}" PARENT_SCOPE)
  message(STATUS "ferry: LibTorch in ${root}, CUDA: ${cuda}")
endfunction()

if(NOT TARGET ferry_torch)
  ferry_find_torch()
endif()
