// Pixels of any size to a network's input: one kernel for the weights, one for everything else.
#include "cuda_pictures/column.h"

using namespace ferry::pictures;

extern "C" __global__ void ferry_weigh(Job job) {
  const int output = blockIdx.x * blockDim.x + threadIdx.x;
  if (output < job.crop) weigh(job, blockIdx.z, blockIdx.y, output);
}

namespace {

// A block makes `tile` rows of some columns of one picture; the filters of these rows are in shared memory.
template <int kTaps, Finish kFinish>
__device__ void prepare(const Job& job) {
  extern __shared__ uint4 shared[];
  std::uint32_t* const filters = reinterpret_cast<std::uint32_t*>(shared);
  constexpr int kRow = groups_of(kTaps) * 4;
  const int picture = blockIdx.z, top = blockIdx.y * job.tile, x = blockIdx.x * blockDim.x + threadIdx.x;
  const int rows = min(job.tile, job.crop - top);
  const std::uint32_t* const from = axis_of(job, picture, 1) + top * kRow;
  for (int i = threadIdx.x; i < rows * kRow; i += blockDim.x) filters[i] = from[i];
  if (threadIdx.x == 0) filters[rows * kRow] = 0;  // behind the last row: nothing more is due
  std::uint32_t* const values = filters + (job.tile + 1) * kRow;
  if constexpr (kFinish == kTable32 || kFinish == kTable16)
    for (int i = threadIdx.x; i < 3 * 256; i += blockDim.x) values[i] = job.values[i];
  __syncthreads();
  if (x < job.crop) make_column<kTaps, kFinish>(job, picture, top, x, reinterpret_cast<const Group*>(filters), values);
}

}  // namespace

#define FERRY_PREPARE(taps, name, finish)                                                    \
  extern "C" __global__ void __launch_bounds__(256) ferry_prepare_##taps##_##name(Job job) { \
    prepare<taps, finish>(job);                                                              \
  }
#define FERRY_PREPARE_TAPS(taps)         \
  FERRY_PREPARE(taps, table32, kTable32) \
  FERRY_PREPARE(taps, table16, kTable16) \
  FERRY_PREPARE(taps, line16, kLine16)   \
  FERRY_PREPARE(taps, bytes, kBytes)
FERRY_PREPARE_TAPS(3)
FERRY_PREPARE_TAPS(4)
FERRY_PREPARE_TAPS(8)
FERRY_PREPARE_TAPS(16)
