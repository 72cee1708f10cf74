// Long runs of the two conversions that checkpoints and FP16 models are made of. Uses F16C where the processor has it.
#pragma once

#include <cstddef>

namespace ferry {

/// Neither pointer need be aligned for its elements.
void halves_to_floats(const std::byte* from, float* to, std::size_t count) noexcept;
/// Round to nearest even, overflow becomes infinity, NaN stays NaN.
void floats_to_halves(const std::byte* from, std::byte* to, std::size_t count) noexcept;

}  // namespace ferry
