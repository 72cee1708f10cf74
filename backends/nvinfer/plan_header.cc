#include "nvinfer/plan_header.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "nvinfer/failure.h"

namespace ferry::nvinfer {
namespace {

constexpr char kRtxMark[] = "vtrt";
constexpr std::size_t kSizeAt = 0x10, kVersionAt = 0x18, kHeaderSize = 64;
constexpr const char* kRebuild = "build the plan again from its ONNX file (ferry build)";

bool starts_with(const void* plan, std::size_t size, const char* mark) {
  return size >= std::strlen(mark) && std::memcmp(plan, mark, std::strlen(mark)) == 0;
}

}  // namespace

std::string version_text(const std::array<int, 4>& version) {
  std::string text;
  for (const int part : version) text += (text.empty() ? "" : ".") + std::to_string(part);
  return text;
}

std::optional<RtxHeader> read_rtx_header(const void* plan, std::size_t size) {
  if (!starts_with(plan, size, kRtxMark)) {
    throw Failure("plan", "this is not a plan of TensorRT for RTX",
                  "open it with the backend that built it, or build it again from its ONNX file (ferry build)");
  }
  const auto* bytes = static_cast<const unsigned char*>(plan);
  std::uint64_t stated = 0;
  if (size >= kHeaderSize) std::memcpy(&stated, bytes + kSizeAt, sizeof stated);
  if (stated != size) {
    throw Failure("plan",
                  "the plan is damaged: it has " + std::to_string(size) + " bytes" +
                      (size >= kHeaderSize ? ", its header says " + std::to_string(stated) : ", less than a header"),
                  kRebuild);
  }
  RtxHeader header;
  std::copy_n(bytes + kVersionAt, 4, header.version.begin());
  if (header.version[0] == 0) return std::nullopt;
  return header;
}

void check_rtx_plan(const void* plan, std::size_t size, const std::array<int, 4>& library) {
  const auto header = read_rtx_header(plan, size);
  if (!header || std::equal(library.begin(), library.begin() + 3, header->version.begin())) return;
  throw Failure("plan",
                "the plan was built by TensorRT for RTX " + version_text(header->version) + ", this machine has " +
                    version_text(library),
                kRebuild);
}

void check_tensorrt_plan(const void* plan, std::size_t size) {
  if (size < kHeaderSize) {
    throw Failure("plan", "the plan is damaged: " + std::to_string(size) + " bytes are less than a header", kRebuild);
  }
  if (starts_with(plan, size, kRtxMark)) {
    throw Failure("plan", "this is a plan of TensorRT for RTX, not of TensorRT",
                  "open it with the backend tensorrt_rtx, or build it again with tensorrt");
  }
}

}  // namespace ferry::nvinfer
