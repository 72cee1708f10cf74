#include <cstring>

#include "classify/lanes.h"

namespace ferry {
namespace {

template <class T>
void spread(std::span<const std::uint8_t> pixels, bool channels_last, const std::uint32_t* values, std::byte* to) {
  const std::size_t count = pixels.size() / 3;
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t c = 0; c < 3; ++c) {
      const auto value = static_cast<T>(values[256 * c + pixels[3 * i + c]]);
      std::memcpy(to + (channels_last ? 3 * i + c : c * count + i) * sizeof value, &value, sizeof value);
    }
  }
}

std::vector<std::uint32_t> value_table(const Preprocessing& p, DType type) {
  std::vector<std::uint32_t> table;
  for (std::size_t c = 0; c < 3; ++c) {
    for (std::uint32_t v = 0; v < 256; ++v) {
      const float value = (static_cast<float>(v) / 255.0f - p.mean[c]) / p.std[c];
      std::uint32_t bits = v;
      if (type == DType::kFloat16) bits = float_to_half(value);
      if (type == DType::kFloat32) std::memcpy(&bits, &value, sizeof bits);
      table.push_back(bits);
    }
  }
  return table;
}

}  // namespace

PreparedLane::PreparedLane(const LaneTools& tools, std::int64_t capacity)
    : Lane(tools, capacity), values_(value_table(tools.preprocessing, tools.form.input)) {
  // A batch that is run with rows to spare must not read what nobody wrote.
  std::memset(staging_.inputs[0], 0, tools.form.input_bytes * static_cast<std::size_t>(capacity_));
}

void PreparedLane::put(std::size_t row, const ImageView& image, Preprocessor& preprocessor) {
  const EngineForm& form = tools_.form;
  std::byte* const to = staging_.inputs[0] + row * form.input_bytes;
  if (form.input == DType::kFloat32 && !form.channels_last)
    preprocessor.run(image, reinterpret_cast<float*>(to));
  else
    put_values(to, preprocessor.pixels(image));
}

void PreparedLane::put_values(std::byte* to, std::span<const std::uint8_t> pixels) const {
  const EngineForm& form = tools_.form;
  if (form.input == DType::kFloat32)
    spread<std::uint32_t>(pixels, form.channels_last, values_.data(), to);
  else if (form.input == DType::kFloat16)
    spread<std::uint16_t>(pixels, form.channels_last, values_.data(), to);
  else
    spread<std::uint8_t>(pixels, form.channels_last, values_.data(), to);
}

void PreparedLane::move(std::size_t from, std::size_t to) {
  const std::size_t bytes = tools_.form.input_bytes;
  std::memcpy(staging_.inputs[0] + to * bytes, staging_.inputs[0] + from * bytes, bytes);
}

void PreparedLane::start(std::int64_t batch, std::size_t) {
  session_.submit(batch, {staging_.inputs[0]}, staging_.outputs);
}

}  // namespace ferry
