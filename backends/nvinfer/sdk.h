// The SDK's headers, and everything in which TensorRT 10, TensorRT 11 and TensorRT for RTX differ for us.
// `sdk_module.h` comes from the folder of the module that is being compiled (backends/tensorrt or
// backends/tensorrt_rtx).
#pragma once

#include <NvInfer.h>
#include <NvOnnxParser.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#if defined(TRT_MAJOR_RTX)
#include "tensorrt_rtx/sdk_module.h"
#else
#include "tensorrt/sdk_module.h"
#endif

namespace ferry::nvinfer::sdk {

/// What the headers are, "1.7.1"; the library must agree in major and minor, because the layout of its classes follows.
inline const std::string kHeaderVersion = std::to_string(NV_TENSORRT_MAJOR) + "." + std::to_string(NV_TENSORRT_MINOR) +
                                          "." + std::to_string(NV_TENSORRT_PATCH);

inline nvinfer1::NetworkDefinitionCreationFlags network_flags() {
#if !defined(TRT_MAJOR_RTX) && NV_TENSORRT_MAJOR < 11
  // Types live in the graph: without this TensorRT 10 would pick precisions itself. Later versions know no other way.
  return 1U << static_cast<uint32_t>(nvinfer1::NetworkDefinitionCreationFlag::kSTRONGLY_TYPED);
#else
  return 0;
#endif
}

/// ONNX's number for an SDK type; 0 if it has none.
inline int onnx_type(nvinfer1::DataType type) {
  using nvinfer1::DataType;
  switch (type) {
    case DataType::kFLOAT:
      return 1;
    case DataType::kUINT8:
      return 2;
    case DataType::kINT8:
      return 3;
    case DataType::kINT32:
      return 6;
    case DataType::kINT64:
      return 7;
    case DataType::kBOOL:
      return 9;
    case DataType::kHALF:
      return 10;
    case DataType::kBF16:
      return 16;
    default:
      return 0;
  }
}

inline std::size_t bytes_of(nvinfer1::DataType type) {
  using nvinfer1::DataType;
  switch (type) {
    case DataType::kINT64:
      return 8;
    case DataType::kFLOAT:
    case DataType::kINT32:
      return 4;
    case DataType::kHALF:
    case DataType::kBF16:
      return 2;
    default:
      return 1;
  }
}

/// The word that the engine inspector uses for a type.
inline const char* type_word(nvinfer1::DataType type) {
  using nvinfer1::DataType;
  switch (type) {
    case DataType::kFLOAT:
      return "Float";
    case DataType::kHALF:
      return "Half";
    case DataType::kBF16:
      return "BFloat16";
    case DataType::kINT8:
      return "Int8";
    case DataType::kFP8:
      return "FP8";
    default:
      return "other";
  }
}

}  // namespace ferry::nvinfer::sdk
