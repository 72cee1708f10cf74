#include "cuda_pictures/plan.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace ferry::pictures {
namespace {

// Of the window along one axis: whether the part in memory holds all that is read.
bool part_holds(int in, int out, int part, int part_size, int crop_first, int crop) {
  const int first = std::max(crop_first, 0), last = std::min(crop_first + crop, out) - 1;
  if (first > last) return true;  // all black
  return reach(in, out, first).start >= part && reach(in, out, last).end <= part + part_size;
}

std::string refusal_of(const ferry_image& p, const Input& input, std::uint64_t used) {
  const bool sizes = p.width > 0 && p.height > 0 && p.resized_width > 0 && p.resized_height > 0 && p.part_width > 0 &&
                     p.part_height > 0 && p.part_left >= 0 && p.part_top >= 0 &&
                     p.part_left <= p.width - p.part_width && p.part_top <= p.height - p.part_height &&
                     p.stride / 3 >= p.part_width;
  if (!sizes) return "sizes that make no sense";
  if (p.stride % 4 != 0) return "rows that are not whole words (a stride of " + std::to_string(p.stride) + ")";
  const auto bytes = static_cast<std::uint64_t>(p.stride) * static_cast<std::uint64_t>(p.part_height);
  if (bytes > used || p.offset > used - bytes) return "pixels outside the memory that is in use";
  const auto shrink = [](int in, int out) { return static_cast<double>(in) / out; };
  if (!(std::max(shrink(p.width, p.resized_width), shrink(p.height, p.resized_height)) <= FERRY_IMAGES_MOST_SHRINK))
    return "a side that shrinks more than " + std::to_string(FERRY_IMAGES_MOST_SHRINK) + " times";
  if (!part_holds(p.width, p.resized_width, p.part_left, p.part_width, p.crop_left, input.crop) ||
      !part_holds(p.height, p.resized_height, p.part_top, p.part_height, p.crop_top, input.crop))
    return "a part that lacks pixels of the window";
  return {};
}

}  // namespace

std::optional<Input> input_for(std::int32_t dtype, const std::vector<std::int64_t>& shape) {
  if (shape.size() != 4) return std::nullopt;
  const bool planes = shape[1] == 3 && shape[2] == shape[3], last = shape[3] == 3 && shape[1] == shape[2];
  if ((!planes && !last) || shape[2] < 1 || shape[2] > 4096) return std::nullopt;
  Input input;
  input.channels_last = !planes;
  input.crop = static_cast<int>(shape[2]);
  if (dtype == 1)
    input.kind = kFloat32;
  else if (dtype == 10)
    input.kind = kFloat16;
  else if (dtype == 2)
    input.kind = kUInt8;
  else
    return std::nullopt;
  return input;
}

std::string refusal(const ferry_images_args& args, const Input& input, std::uint64_t staging_bytes) {
  if (args.batch < 1 || args.batch > 65535) return "a batch of " + std::to_string(args.batch);
  if (args.images == nullptr) return "no description of the pictures";
  if (args.used > staging_bytes) return "more bytes in use than image staging has";
  for (std::int64_t i = 0; i < args.batch; ++i) {
    const std::string why = refusal_of(args.images[i], input, args.used);
    if (!why.empty()) return "picture " + std::to_string(i) + " has " + why;
  }
  for (int c = 0; c < 3 && input.kind != kUInt8; ++c)
    if (!(args.std[c] > 0) || !std::isfinite(args.mean[c])) return "a deviation that is not above 0";
  return {};
}

// IEEE 754 binary16, round to nearest even.
std::uint16_t half_of(float value) noexcept {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const std::uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) return static_cast<std::uint16_t>(sign | 0x7E00);
  if (magnitude >= 0x477FF000) return static_cast<std::uint16_t>(sign | 0x7C00);  // rounds to infinity
  if (magnitude < 0x38800000) {                                                   // below the normal numbers
    const float scaled = std::fabs(value) * 16777216.0f;                          // in units of the smallest one; exact
    return static_cast<std::uint16_t>(sign | static_cast<std::uint32_t>(std::nearbyint(scaled)));
  }
  const std::uint32_t rebased = magnitude - (112u << 23);
  return static_cast<std::uint16_t>(sign | ((rebased + 0xFFF + (rebased >> 13 & 1)) >> 13));
}

namespace {

std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

bool is_line(const std::uint32_t* table, float scale, float offset) {
  for (std::uint32_t v = 0; v < 256; ++v)
    if (half_of_line(v, scale, offset) != table[v]) return false;
  return true;
}

// A line that gives all of a channel's halves. The table rounds four times and the line twice, so now and then a value
// falls on the other side of a half's edge; then a neighbouring line may have all of them.
bool find_line(const std::uint32_t* table, float mean, float std, float& scale, float& offset) {
  const float best_scale = static_cast<float>(1.0 / (255.0 * std)), best_offset = static_cast<float>(-1.0 * mean / std);
  const auto moved = [](float value, int steps) {
    for (; steps > 0; --steps) value = std::nextafter(value, INFINITY);
    for (; steps < 0; ++steps) value = std::nextafter(value, -INFINITY);
    return value;
  };
  constexpr int kFar = 6;
  for (int distance = 0; distance <= kFar; ++distance)
    for (int i = -distance; i <= distance; ++i)
      for (int j = -distance; j <= distance; ++j) {
        if (std::max(std::abs(i), std::abs(j)) != distance) continue;  // of the ring
        scale = moved(best_scale, i), offset = moved(best_offset, j);
        if (is_line(table, scale, offset)) return true;
      }
  return false;
}

}  // namespace

std::uint16_t half_of_line(std::uint32_t value, float scale, float offset) {
  return half_of(std::fma(static_cast<float>(value), scale, offset));
}

Values values_for(const Input& input, const float* mean, const float* std) {
  Values values;
  values.words.resize(kValueWords);
  values.line = input.kind == kFloat16;
  values.words[kTableWords + 6] = kMagic;
  for (int c = 0; c < 3; ++c) {
    std::uint32_t* const table = values.words.data() + 256 * c;
    for (unsigned v = 0; v < 256; ++v) {
      table[v] = v;
      if (input.kind == kUInt8) continue;
      const float value = (static_cast<float>(v) / 255.0f - mean[c]) / std[c];
      table[v] = input.kind == kFloat16 ? half_of(value) : bits_of(value);
    }
    float scale = 0, offset = 0;
    values.line = values.line && find_line(table, mean[c], std[c], scale, offset);
    values.words[kTableWords + c] = bits_of(scale);
    values.words[kTableWords + 3 + c] = bits_of(offset);
  }
  return values;
}

namespace {

int taps_for(const ferry_images_args& args) {
  double shrink = 1;
  for (std::int64_t i = 0; i < args.batch; ++i) {
    const ferry_image& p = args.images[i];
    shrink = std::max(
        {shrink, static_cast<double>(p.width) / p.resized_width, static_cast<double>(p.height) / p.resized_height});
  }
  const int needed = static_cast<int>(std::ceil(2 * shrink));
  return needed <= 3 ? 3 : needed <= 4 ? 4 : needed <= 8 ? 8 : kMaxTaps;
}

}  // namespace

Plan plan_for(const ferry_images_args& args, const Input& input, bool line, int tile) {
  Plan plan;
  Job& job = plan.job;
  job.batch = static_cast<std::int32_t>(args.batch);
  job.crop = input.crop;
  job.channels_last = input.channels_last ? 1 : 0;
  job.taps = taps_for(args);
  // Tall tiles read fewer rows twice; a small batch wants more blocks.
  job.tile = tile > 0 ? tile : args.batch >= 96 ? 32 : args.batch >= 8 ? 16 : args.batch >= 2 ? 8 : 4;
  plan.finish = input.kind == kUInt8 ? kBytes : input.kind == kFloat32 ? kTable32 : line ? kLine16 : kTable16;
  static constexpr const char* kNames[] = {"table32", "table16", "line16", "bytes"};
  plan.kernel = "ferry_prepare_" + std::to_string(job.taps) + "_" + kNames[plan.finish];
  const auto crop = static_cast<unsigned>(job.crop), batch = static_cast<unsigned>(job.batch),
             height = static_cast<unsigned>(job.tile);
  plan.weigh.grid = {(crop + 127) / 128, 2, batch};
  plan.weigh.block = {128, 1, 1};
  const unsigned columns = std::min((crop + 31) / 32 * 32, 256u);
  plan.prepare.block = {columns, 1, 1};
  plan.prepare.grid = {(crop + columns - 1) / columns, (crop + height - 1) / height, batch};
  const unsigned filters = (height + 1) * static_cast<unsigned>(groups_of(job.taps) * sizeof(Group));
  plan.prepare.shared_bytes =
      filters + (plan.finish == kTable32 || plan.finish == kTable16 ? kTableWords * sizeof(std::uint32_t) : 0);
  return plan;
}

std::size_t axes_bytes(const Job& job) {
  return static_cast<std::size_t>(axis_words(job)) * 2 * static_cast<std::size_t>(job.batch) * sizeof(std::uint32_t);
}

namespace {

template <int kTaps, Finish kFinish>
void run_tile(const Job& job, int picture, int top) {
  constexpr int kGroups = groups_of(kTaps);
  const int rows = std::min(job.tile, job.crop - top);
  std::vector<Group> filters(static_cast<std::size_t>(rows + 1) * kGroups);
  std::memcpy(filters.data(), axis_of(job, picture, 1) + top * kGroups * 4, sizeof(Group) * kGroups * rows);
  for (int x = 0; x < job.crop; ++x) make_column<kTaps, kFinish>(job, picture, top, x, filters.data(), job.values);
}

using RunTile = void (*)(const Job&, int, int);

template <int kTaps>
RunTile tile_runner(Finish finish) {
  return finish == kTable32   ? run_tile<kTaps, kTable32>
         : finish == kTable16 ? run_tile<kTaps, kTable16>
         : finish == kLine16  ? run_tile<kTaps, kLine16>
                              : run_tile<kTaps, kBytes>;
}

}  // namespace

void run_on_host(const Plan& plan) {
  const Job& job = plan.job;
  const RunTile run = job.taps == 3   ? tile_runner<3>(plan.finish)
                      : job.taps == 4 ? tile_runner<4>(plan.finish)
                      : job.taps == 8 ? tile_runner<8>(plan.finish)
                                      : tile_runner<kMaxTaps>(plan.finish);
  for (int picture = 0; picture < job.batch; ++picture) {
    for (int output = 0; output < 2 * job.crop; ++output) weigh(job, picture, output / job.crop, output % job.crop);
    for (int top = 0; top < job.crop; top += job.tile) run(job, picture, top);
  }
}

}  // namespace ferry::pictures
