// What is asked of a GPU for a batch of pictures: checked, and cut into launches. Nothing of CUDA is needed for this,
// so tests and the fake engine run the same job on the host.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backend_abi.h"
#include "cuda_pictures/column.h"
#include "cuda_support/kernels.h"

namespace ferry::pictures {

/// What a network's input wants.
struct Input {
  Kind kind = kFloat32;
  bool channels_last = false;
  int crop = 224;
};
/// Nothing if no picture can be prepared for an input of this type (ONNX's number) and shape, or if the kernels were
/// not compiled.
std::optional<Input> input_for(std::int32_t dtype, const std::vector<std::int64_t>& shape);

/// Why the pictures cannot be prepared; empty if they can: each shrinks within limits, and its part holds what is read.
std::string refusal(const ferry_images_args& args, const Input& input, std::uint64_t staging_bytes);

/// What the 256 values of each of the three channels become, as `Job::values` says. `line`: the lines in it give all
/// halves of the table, so that nothing need be looked up.
struct Values {
  std::vector<std::uint32_t> words;
  bool line = false;
};
Values values_for(const Input& input, const float* mean, const float* std);
std::uint16_t half_of(float value) noexcept;

/// How the kernels are launched for these pictures. `line` as in Values; `tile` of 0: as is best.
struct Plan {
  Job job{};
  Finish finish = kTable32;
  std::string kernel;
  cuda::Launch weigh, prepare;
};
Plan plan_for(const ferry_images_args& args, const Input& input, bool line, int tile = 0);

/// The whole job on the host, thread by thread in the order of the kernels. `plan` as from `plan_for`, with its
/// pointers set; `axes` of the size that `axes_bytes` says.
void run_on_host(const Plan& plan);
std::size_t axes_bytes(const Job& job);

}  // namespace ferry::pictures
