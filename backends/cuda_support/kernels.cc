#include "cuda_support/kernels.h"

#include <string>

#include "cuda_support/driver.h"
#include "cuda_support/error.h"

namespace ferry::cuda {
namespace {

std::string shape(const Launch& how) {
  std::string text = std::to_string(how.grid[0]);
  for (const unsigned size : {how.grid[1], how.grid[2]}) text += "x" + std::to_string(size);
  return text + " blocks of " + std::to_string(how.block[0] * how.block[1] * how.block[2]) + " threads, " +
         std::to_string(how.shared_bytes) + " bytes shared" +
         (how.cluster > 1 ? ", in clusters of " + std::to_string(how.cluster) : "");
}

}  // namespace

Kernels::Kernels(const KernelImage& image) {
  if (!image.compiled()) throw Unavailable(kNoKernels, kNoKernelsRemedy);
  check(driver().cuCtxGetCurrent(&context_), "cuCtxGetCurrent");
  check(driver().cuModuleLoadData(&handle_, image.data), "cuModuleLoadData", "ferry's kernels");
}

Kernels::~Kernels() {
  if (handle_ == nullptr) return;
  const Driver* api = driver_if_loaded();
  if (const CUresult pushed = api->cuCtxPushCurrent_v2(context_); pushed != CUDA_SUCCESS) {
    check_in_destructor(pushed, "cuCtxPushCurrent");
    return;
  }
  check_in_destructor(api->cuModuleUnload(handle_), "cuModuleUnload");
  CUcontext popped = nullptr;
  check_in_destructor(api->cuCtxPopCurrent_v2(&popped), "cuCtxPopCurrent");
}

CUfunc_st* Kernels::function(const char* name) const {
  CUfunction found = nullptr;
  check(driver().cuModuleGetFunction(&found, handle_, name), "cuModuleGetFunction", name);
  return found;
}

namespace {

/// A launch with attributes; `attributes` must outlive the configuration.
CUlaunchConfig config_of(const Launch& how, std::array<CUlaunchAttribute, 2>& attributes, CUstream_st* stream) {
  attributes = {};
  attributes[0].id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
  attributes[0].value.clusterDim = {how.cluster, 1, 1};
  attributes[1].id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE;
  attributes[1].value.cooperative = 1;
  const auto& [gx, gy, gz] = how.grid;
  const auto& [bx, by, bz] = how.block;
  return {gx, gy, gz, bx, by, bz, how.shared_bytes, stream, attributes.data(), how.cooperative ? 2U : 1U};
}

void launch_clusters(CUfunc_st* function, const Launch& how, void** arguments, CUstream_st* stream) {
  const auto api = driver().cuLaunchKernelEx;
  if (api == nullptr) throw Unavailable("the NVIDIA driver is too old for clusters", "update the driver");
  std::array<CUlaunchAttribute, 2> attributes;
  const CUlaunchConfig config = config_of(how, attributes, stream);
  const auto code = api(&config, function, arguments, nullptr);
  if (code != CUDA_SUCCESS) throw Error("cuLaunchKernelEx", code, shape(how));
}

}  // namespace

void launch(CUfunc_st* function, const Launch& how, void** arguments, CUstream_st* stream) {
  const auto& [gx, gy, gz] = how.grid;
  const auto& [bx, by, bz] = how.block;
  if (how.cluster > 1) {
    launch_clusters(function, how, arguments, stream);
  } else if (how.cooperative) {
    const auto code =
        driver().cuLaunchCooperativeKernel(function, gx, gy, gz, bx, by, bz, how.shared_bytes, stream, arguments);
    if (code != CUDA_SUCCESS) throw Error("cuLaunchCooperativeKernel", code, shape(how));
  } else {
    const auto code =
        driver().cuLaunchKernel(function, gx, gy, gz, bx, by, bz, how.shared_bytes, stream, arguments, nullptr);
    if (code != CUDA_SUCCESS) throw Error("cuLaunchKernel", code, shape(how));
  }
}

void allow_shared(CUfunc_st* function, unsigned bytes) {
  check(driver().cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, static_cast<int>(bytes)),
        "cuFuncSetAttribute", std::to_string(bytes) + " bytes of shared memory");
}

int resident_blocks(CUfunc_st* function, unsigned threads, unsigned shared_bytes) {
  int blocks = 0;
  check(
      driver().cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, function, static_cast<int>(threads), shared_bytes),
      "cuOccupancyMaxActiveBlocksPerMultiprocessor");
  return blocks;
}

int resident_clusters(CUfunc_st* function, const Launch& how) {
  const auto api = driver().cuOccupancyMaxActiveClusters;
  if (api == nullptr || driver().cuLaunchKernelEx == nullptr) return 0;
  std::array<CUlaunchAttribute, 2> attributes;
  const CUlaunchConfig config = config_of(how, attributes, nullptr);
  int clusters = 0;
  check(api(&clusters, function, &config), "cuOccupancyMaxActiveClusters", shape(how));
  return clusters;
}

}  // namespace ferry::cuda
