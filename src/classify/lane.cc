#include "classify/lane.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ferry/error.h"

namespace ferry {
namespace {

template <class T>
void spread(std::span<const std::uint8_t> pixels, bool channels_last, const T* table, T* to) {
  const std::size_t count = pixels.size() / 3;
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t c = 0; c < 3; ++c)
      to[channels_last ? 3 * i + c : c * count + i] = table[256 * c + pixels[3 * i + c]];
}

template <class T>
std::vector<T> value_table(const Preprocessing& p, T (*convert)(float)) {
  std::vector<T> table;
  for (std::size_t c = 0; c < 3; ++c)
    for (int v = 0; v < 256; ++v) table.push_back(convert((static_cast<float>(v) / 255.0f - p.mean[c]) / p.std[c]));
  return table;
}

std::uint16_t to_half(float value) { return float_to_half(value); }
float same(float value) { return value; }

std::int64_t index_at(const std::byte* row, DType type, std::size_t i) {
  std::int64_t wide = 0;
  std::int32_t narrow = 0;
  if (type == DType::kInt64)
    std::memcpy(&wide, row + i * sizeof wide, sizeof wide);
  else
    std::memcpy(&narrow, row + i * sizeof narrow, sizeof narrow), wide = narrow;
  return wide;
}

}  // namespace

Lane::Lane(const LaneTools& tools, std::int64_t capacity)
    : tools_(tools),
      capacity_(batch_for(tools.engine.info(), capacity)),
      session_(tools.engine.new_session()),
      staging_(session_.staging(capacity_)) {
  // A batch that is run with rows to spare must not read what nobody wrote.
  std::memset(staging_.inputs[0], 0, tools.form.input_bytes * static_cast<std::size_t>(capacity_));
  if (tools.form.input == DType::kFloat16) half_ = value_table<std::uint16_t>(tools.preprocessing, to_half);
}

void Lane::put(std::size_t row, const ImageU8& image, Preprocessor& preprocessor) {
  const EngineForm& form = tools_.form;
  std::byte* const to = staging_.inputs[0] + row * form.input_bytes;
  if (form.input == DType::kFloat32 && !form.channels_last)
    preprocessor.run(image, reinterpret_cast<float*>(to));
  else
    put_values(to, preprocessor.pixels(image));
}

void Lane::put_values(std::byte* to, std::span<const std::uint8_t> pixels) const {
  const EngineForm& form = tools_.form;
  if (form.input == DType::kFloat16) {
    spread(pixels, form.channels_last, half_.data(), reinterpret_cast<std::uint16_t*>(to));
  } else if (form.input == DType::kFloat32) {
    const std::vector<float> table = value_table<float>(tools_.preprocessing, same);
    spread(pixels, form.channels_last, table.data(), reinterpret_cast<float*>(to));
  } else if (form.channels_last) {
    std::memcpy(to, pixels.data(), pixels.size());
  } else {
    const std::size_t count = pixels.size() / 3;
    for (std::size_t i = 0; i < count; ++i)
      for (std::size_t c = 0; c < 3; ++c) to[c * count + i] = std::byte{pixels[3 * i + c]};
  }
}

void Lane::move(std::size_t from, std::size_t to) {
  const std::size_t bytes = tools_.form.input_bytes;
  std::memcpy(staging_.inputs[0] + to * bytes, staging_.inputs[0] + from * bytes, bytes);
}

void Lane::submit(std::size_t count) {
  const std::int64_t batch = batch_for(tools_.engine.info(), static_cast<std::int64_t>(count));
  const EngineForm& form = tools_.form;
  // NaN: scores that nobody writes must not look like some.
  std::memset(staging_.outputs[form.scores_output], 0xFF,
              static_cast<std::size_t>(batch * form.classes) * size_of(form.scores));
  session_.submit(batch, {staging_.inputs[0]}, staging_.outputs);
}

void Lane::wait() { session_.wait(); }

std::span<const float> Lane::scores(std::size_t row, std::vector<float>& widened) const {
  const EngineForm& form = tools_.form;
  const auto count = static_cast<std::size_t>(form.classes);
  const std::byte* const from = staging_.outputs[form.scores_output] + row * count * size_of(form.scores);
  if (form.scores == DType::kFloat32) return {reinterpret_cast<const float*>(from), count};
  widened.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    std::uint16_t half;
    std::memcpy(&half, from + 2 * i, 2);
    widened[i] = half_to_float(half);
  }
  return widened;
}

std::vector<ClassScore> Lane::best(std::size_t row, int k) const {
  const EngineForm& form = tools_.form;
  std::vector<float> widened;
  const std::span<const float> values = scores(row, widened);
  std::vector<ClassScore> best = top_k(values, k, !form.top_k);
  if (!form.top_k) return best;
  const std::byte* const indices =
      staging_.outputs[form.indices_output] + row * static_cast<std::size_t>(form.classes) * size_of(form.index_type);
  for (ClassScore& score : best)
    score.index = static_cast<int>(index_at(indices, form.index_type, static_cast<std::size_t>(score.index)));
  return best;
}

}  // namespace ferry
