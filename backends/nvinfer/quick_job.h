// What the kernels of quick requests (quick.cu) are given. Plain data, shared by host and device code.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ferry::nvinfer {

inline constexpr unsigned kFetchThreads = 512, kAnswerThreads = 1024;
inline constexpr std::size_t kFetchBlock = std::size_t{16} * kFetchThreads;  // bytes that one block fetches
inline constexpr std::size_t kMostQuickInput = std::size_t{1} << 20, kMostQuickOutput = std::size_t{1} << 16;
inline constexpr int kMostQuickOutputs = 4, kMostQuickChunks = 32;

/// In pinned memory. The host clears it before each launch; each side writes only what is its own.
struct QuickControl {
  std::uint32_t ready[kMostQuickChunks];          // by the host: this chunk of the input is in the staging
  std::uint32_t late;                             // by the device: a chunk did not come
  std::uint32_t answered;                         // by the device, last: outputs and times are there
  std::uint64_t begun, fetched, computed, ended;  // by the device: its clock, in nanoseconds
};

/// In the device's memory: when fetching began and the last block was done.
struct QuickStamps {
  unsigned long long begun, fetched;
};

struct FetchJob {
  const unsigned char* from;  // pinned, readable by the device
  unsigned char* to;
  std::uint64_t bytes;
  std::uint32_t chunk;  // bytes; a multiple of kFetchBlock
  QuickControl* control;
  QuickStamps* stamps;
};

struct AnswerJob {
  const unsigned char* from[kMostQuickOutputs];
  unsigned char* to[kMostQuickOutputs];  // pinned, writable by the device
  std::uint32_t bytes[kMostQuickOutputs];
  int count;
  QuickControl* control;
  QuickStamps* stamps;
};

}  // namespace ferry::nvinfer
