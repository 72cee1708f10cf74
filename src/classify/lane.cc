// What all lanes have in common: sessions, and scores out of outputs.
#include "classify/lane.h"

#include <cstring>

#include "classify/lanes.h"

namespace ferry {
namespace {

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

std::unique_ptr<Lane> Lane::make(const LaneTools& tools, std::int64_t capacity) {
  if (tools.engine.info().images) return std::make_unique<PixelLane>(tools, capacity);
  return std::make_unique<PreparedLane>(tools, capacity);
}

Lane::Lane(const LaneTools& tools, std::int64_t capacity)
    : tools_(tools),
      capacity_(batch_for(tools.engine.info(), capacity)),
      session_(tools.engine.new_session()),
      staging_(session_.staging(capacity_)) {}

void Lane::submit(std::size_t count) {
  const std::int64_t batch = batch_for(tools_.engine.info(), static_cast<std::int64_t>(count));
  const EngineForm& form = tools_.form;
  // NaN: scores that nobody writes must not look like some.
  std::memset(staging_.outputs[form.scores_output], 0xFF,
              static_cast<std::size_t>(batch * form.classes) * size_of(form.scores));
  start(batch, count);
}

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
