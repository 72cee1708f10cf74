# Finds what the GPU modules need to compile: cuda.h and the headers of TensorRT and TensorRT for RTX. Nothing is linked:
# the SDKs' libraries are opened at run time. A user's own SDK comes first, then what setup/install fetched.
#   FERRY_CUDA_INCLUDE_DIR          folder with cuda.h and cuda_runtime_api.h
#   FERRY_TENSORRT_INCLUDE_DIR      folder with NvInfer.h and NvOnnxParser.h of TensorRT 10 or 11
#   FERRY_TENSORRT_RTX_INCLUDE_DIR  the same of TensorRT for RTX
include_guard(GLOBAL)

find_path(FERRY_CUDA_INCLUDE_DIR cuda_runtime_api.h
  HINTS "${FERRY_DEPS_DIR}/wheels/nvidia/cu13/include" ENV CUDA_HOME ENV CUDA_PATH
  PATHS /usr/local/cuda /usr/lib/cuda
  PATH_SUFFIXES include targets/x86_64-linux/include)
find_path(FERRY_TENSORRT_RTX_INCLUDE_DIR NvOnnxParser.h
  HINTS ENV FERRY_TENSORRT_RTX_DIR PATH_SUFFIXES include
  PATHS "${FERRY_DEPS_DIR}/headers/tensorrt_rtx" NO_DEFAULT_PATH)
find_path(FERRY_TENSORRT_INCLUDE_DIR NvOnnxParser.h
  HINTS ENV FERRY_TENSORRT_DIR PATH_SUFFIXES include include/x86_64-linux-gnu
  PATHS "${FERRY_DEPS_DIR}/headers/tensorrt" /usr/include/x86_64-linux-gnu /usr/local/tensorrt NO_DEFAULT_PATH)

# ferry_nvinfer_backend(NAME INCLUDE_DIR): the module of one SDK, from the sources in backends/nvinfer.
function(ferry_nvinfer_backend name include_dir)
  if(NOT TARGET ferry_nvinfer OR NOT include_dir)
    message(STATUS "ferry: module ${name} is not built: its headers were not found (setup/install fetches them)")
    return()
  endif()
  ferry_backend(${name} ${FERRY_NVINFER_SOURCES})
  target_include_directories(ferry_${name} SYSTEM PRIVATE "${include_dir}" "${FERRY_CUDA_INCLUDE_DIR}")
  target_compile_definitions(ferry_${name} PRIVATE FERRY_SDK_DEPS="${FERRY_DEPS_DIR}/wheels/${ARGV2}")
  target_link_libraries(ferry_${name} PRIVATE ferry_nvinfer)
endfunction()
