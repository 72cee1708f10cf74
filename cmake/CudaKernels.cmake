# ferry's own kernels: compiled by nvcc alone (CMake's CUDA language would want a toolkit with libraries to link), for several
# GPUs into one fat binary, which is embedded in a library and loaded through the driver. So nothing of CUDA is linked or
# needed at run time but the driver.
#   FERRY_NVCC                nvcc 12.8 or newer; found in CUDACXX, setup/install's wheels, CUDA_HOME, PATH, /usr/local/cuda
#   FERRY_CUDA_ARCHITECTURES  compute capabilities as CMake writes them: 80-real is machine code, 90-virtual is PTX, 90 is both.
#                             Code for 8.0 runs on 8.6 and 8.9 too; PTX is compiled by the driver for newer GPUs.
include_guard(GLOBAL)

set(FERRY_CUDA_ARCHITECTURES "80-real;90" CACHE STRING "GPUs that ferry's kernels are compiled for")

function(ferry_find_nvcc)
  set(user "$ENV{CUDACXX}")
  set(FERRY_NVCC "${user}" CACHE FILEPATH "nvcc 12.8 or newer")
  if(NOT FERRY_NVCC)
    find_program(nvcc nvcc HINTS "${FERRY_DEPS_DIR}/nvcc/nvidia/cu13/bin" ENV CUDA_HOME PATHS /usr/local/cuda PATH_SUFFIXES bin NO_CACHE)
    if(nvcc)
      set(FERRY_NVCC "${nvcc}" CACHE FILEPATH "nvcc 12.8 or newer" FORCE)
    endif()
  endif()
  set(FERRY_NVCC_PROBLEM "nvcc was not found" PARENT_SCOPE)
  if(FERRY_NVCC)
    execute_process(COMMAND "${FERRY_NVCC}" --version OUTPUT_VARIABLE text ERROR_QUIET RESULT_VARIABLE status)
    string(REGEX MATCH "release ([0-9.]+)" found "${text}")
    if(found AND CMAKE_MATCH_1 VERSION_GREATER_EQUAL 12.8)
      message(STATUS "ferry: nvcc ${CMAKE_MATCH_1} (${FERRY_NVCC}) compiles for ${FERRY_CUDA_ARCHITECTURES}")
      set(FERRY_NVCC_PROBLEM "" PARENT_SCOPE)
    elseif(found)
      set(FERRY_NVCC_PROBLEM "nvcc ${CMAKE_MATCH_1} is older than 12.8" PARENT_SCOPE)
    else()
      set(FERRY_NVCC_PROBLEM "${FERRY_NVCC} does not run" PARENT_SCOPE)
    endif()
  endif()
endfunction()
ferry_find_nvcc()
if(FERRY_NVCC_PROBLEM)
  message(STATUS "ferry: kernels are not compiled: ${FERRY_NVCC_PROBLEM} (setup/install fetches one, or set CUDACXX)")
endif()

# -gencode for each architecture from `minimum` on.
function(ferry_gencode result minimum)
  set(flags)
  foreach(entry ${FERRY_CUDA_ARCHITECTURES})
    if(NOT entry MATCHES "^([0-9]+)(a|f)?(-real|-virtual)?$")
      message(FATAL_ERROR "FERRY_CUDA_ARCHITECTURES: '${entry}' is not like 80, 80-real or 80-virtual")
    endif()
    set(number "${CMAKE_MATCH_1}${CMAKE_MATCH_2}")
    set(code "[sm_${number},compute_${number}]")
    if(CMAKE_MATCH_3 STREQUAL "-real")
      set(code "sm_${number}")
    elseif(CMAKE_MATCH_3 STREQUAL "-virtual")
      set(code "compute_${number}")
    endif()
    if(CMAKE_MATCH_1 GREATER_EQUAL minimum)
      list(APPEND flags "-gencode=arch=compute_${number},code=${code}")
    endif()
  endforeach()
  set(${result} ${flags} PARENT_SCOPE)
endfunction()

# ferry_cuda_kernels(NAME FILE.cu [MINIMUM 75] [OPTIONS flags...]): the library `ferry_kernels_NAME`, in which
# `ferry::cuda::KernelImage ferry::cuda::kernels_NAME()` (see cuda_support/kernels.h) gives the embedded fat binary; empty
# where there is no nvcc. MINIMUM: the lowest compute capability that the source is for.
function(ferry_cuda_kernels name file)
  cmake_parse_arguments(PARSE_ARGV 2 kernels "" "MINIMUM" "OPTIONS")
  if(NOT kernels_MINIMUM)
    set(kernels_MINIMUM 75)
  endif()
  ferry_gencode(gencode ${kernels_MINIMUM})
  set(FERRY_KERNELS_NAME "${name}")
  cmake_path(ABSOLUTE_PATH file BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}")
  set(FERRY_KERNELS_FILE "")
  set(embed "${CMAKE_CURRENT_BINARY_DIR}/kernels_${name}.cc")
  if(gencode AND NOT FERRY_NVCC_PROBLEM)
    set(FERRY_KERNELS_FILE "${CMAKE_CURRENT_BINARY_DIR}/${name}.fatbin")
    set(host_compiler)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      set(host_compiler -ccbin "${CMAKE_CXX_COMPILER}")
    endif()
    add_custom_command(OUTPUT "${FERRY_KERNELS_FILE}"
      COMMAND "${FERRY_NVCC}" -fatbin -std=c++20 -O3 --threads=2 ${host_compiler} ${gencode} ${kernels_OPTIONS}
              "-I${PROJECT_SOURCE_DIR}/backends" -MD -MF "${FERRY_KERNELS_FILE}.d" -MT "${FERRY_KERNELS_FILE}"
              -o "${FERRY_KERNELS_FILE}" "${file}"
      MAIN_DEPENDENCY "${file}" DEPFILE "${FERRY_KERNELS_FILE}.d" VERBATIM COMMENT "Compiling kernels ${name} for ${FERRY_CUDA_ARCHITECTURES}")
    set_source_files_properties("${embed}" PROPERTIES OBJECT_DEPENDS "${FERRY_KERNELS_FILE}")
  endif()
  configure_file("${PROJECT_SOURCE_DIR}/cmake/kernels.cc.in" "${embed}" @ONLY)
  add_library(ferry_kernels_${name} STATIC "${embed}")
  set_target_properties(ferry_kernels_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden)
  target_include_directories(ferry_kernels_${name} PUBLIC "${PROJECT_SOURCE_DIR}/backends")
  target_link_libraries(ferry_kernels_${name} PRIVATE ferry_options)
endfunction()
