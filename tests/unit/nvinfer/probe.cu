// The smallest kernel: that nvcc, cmake/CudaKernels.cmake and the embedding work.
extern "C" __global__ void probe(int* value) { *value = __CUDA_ARCH__; }
