// ferry's own kernels: a fat binary embedded by cmake/CudaKernels.cmake, loaded and launched through the driver.
#pragma once

#include <array>
#include <cstddef>
#include <utility>

struct CUctx_st;
struct CUmod_st;
struct CUfunc_st;
struct CUstream_st;

namespace ferry::cuda {

/// What `kernels_NAME()` gives, for a library made by ferry_cuda_kernels(NAME ...). Declare that function where you use
/// it.
struct KernelImage {
  const void* data = nullptr;
  std::size_t size = 0;
  /// False where ferry was built without nvcc: say so, with kNoKernelsRemedy.
  bool compiled() const noexcept { return size > 0; }
};
inline constexpr const char* kNoKernels = "ferry's own kernels were not compiled: there was no nvcc";
inline constexpr const char* kNoKernelsRemedy =
    "setup/install fetches nvcc (or set CUDACXX to one of CUDA 12.8 or newer); then build ferry again";

/// A loaded fat binary, in the context that was current when it was made. Move-only; its functions must not be in use
/// when it goes.
class Kernels {
 public:
  explicit Kernels(const KernelImage& image);  // throws Error; one without code for this GPU is such an error
  Kernels(Kernels&& other) noexcept
      : handle_(std::exchange(other.handle_, nullptr)), context_(std::exchange(other.context_, nullptr)) {}
  Kernels& operator=(Kernels&&) = delete;
  ~Kernels();

  /// A kernel declared extern "C". Throws Error if there is none of that name.
  CUfunc_st* function(const char* name) const;

 private:
  CUmod_st* handle_ = nullptr;
  CUctx_st* context_ = nullptr;
};

struct Launch {
  std::array<unsigned, 3> grid{1, 1, 1}, block{1, 1, 1};
  unsigned shared_bytes = 0;  // dynamic; more than 48 KB must have been allowed
  bool cooperative = false;   // all blocks at the same time, or an error
  unsigned cluster = 1;       // blocks that share a cluster, along the grid's first dimension; compute capability 9.0
};

/// Enqueues a kernel. `arguments` points to each parameter's value, which is copied before this returns.
void launch(CUfunc_st* function, const Launch& how, void** arguments, CUstream_st* stream);
/// Allows launches with up to `bytes` of dynamic shared memory.
void allow_shared(CUfunc_st* function, unsigned bytes);
/// Blocks of this shape that fit on one multiprocessor at the same time.
int resident_blocks(CUfunc_st* function, unsigned threads, unsigned shared_bytes);
/// Clusters of this launch that run at the same time; 0 where GPU or driver know none.
int resident_clusters(CUfunc_st* function, const Launch& how);

}  // namespace ferry::cuda
