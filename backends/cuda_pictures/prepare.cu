// Pixels of any size to a network's input: one kernel for the weights, one for everything else.
#include "cuda_pictures/job.h"

using namespace ferry::pictures;

extern "C" __global__ void ferry_weigh(Job job) {
  const int output = blockIdx.x * blockDim.x + threadIdx.x;
  if (output < job.crop) weigh(job, blockIdx.z, blockIdx.y, output);
}

namespace {

// A block makes `tile` rows of one picture.
template <int kTaps>
__device__ void prepare(const Job& job) {
  extern __shared__ std::uint32_t shared[];
  std::uint8_t* const between = reinterpret_cast<std::uint8_t*>(shared + kValueBytes / 4);
  const int picture = blockIdx.y, top = blockIdx.x * job.tile;
  const int thread = threadIdx.y * blockDim.x + threadIdx.x, threads = blockDim.x * blockDim.y;
  for (int i = thread; i < 3 * 256; i += threads) shared[i] = job.values[i];
  const Rows rows = rows_of(job, picture, top);
  shrink_width<kTaps>(job, picture, rows, threadIdx.x, blockDim.x, threadIdx.y, blockDim.y, between);
  __syncthreads();
  shrink_height<kTaps>(job, picture, top, rows, thread, threads, between, shared);
}

}  // namespace

extern "C" __global__ void ferry_prepare_4(Job job) { prepare<4>(job); }
extern "C" __global__ void ferry_prepare_6(Job job) { prepare<6>(job); }
extern "C" __global__ void ferry_prepare_8(Job job) { prepare<8>(job); }
extern "C" __global__ void ferry_prepare_16(Job job) { prepare<16>(job); }
