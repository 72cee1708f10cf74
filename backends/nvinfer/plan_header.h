// What the first bytes of a plan say, so that a wrong file is refused by name, on any machine, before the SDK sees it.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>

namespace ferry::nvinfer {

/// A plan of TensorRT for RTX: "vtrt", the file's size at 0x10, the SDK's version at 0x18. Layout observed in plans of
/// 1.7; NVIDIA documents only IRuntime::getEngineValidity, which needs a driver.
struct RtxHeader {
  std::array<int, 4> version{};  // major, minor, patch, build
};

/// Throws Failure if the bytes are not a whole RTX plan. Nothing is returned for a plan that carries the mark but whose
/// version field makes no sense, so that a newer layout is left to the SDK to judge.
std::optional<RtxHeader> read_rtx_header(const void* plan, std::size_t size);

/// Throws Failure if `plan` is an RTX plan of another major.minor.patch than the library's.
void check_rtx_plan(const void* plan, std::size_t size, const std::array<int, 4>& library);

/// Throws Failure if the bytes cannot be a plan of (full) TensorRT: empty, text, ONNX, or a plan of TensorRT for RTX.
void check_tensorrt_plan(const void* plan, std::size_t size);

/// "1.7.1.116"
std::string version_text(const std::array<int, 4>& version);

}  // namespace ferry::nvinfer
