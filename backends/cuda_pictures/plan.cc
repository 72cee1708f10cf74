#include "cuda_pictures/plan.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace ferry::pictures {
namespace {

constexpr unsigned kSharedLimit = 48 << 10;  // what every GPU gives without being asked

// One tile row of the largest shrink must fit, so that every picture within the limits does.
bool fits_shared(const Input& input) {
  Job job{};
  job.crop = input.crop;
  job.taps = kMaxTaps;
  return shared_bytes(job, kMaxTaps + 1) <= static_cast<int>(kSharedLimit);
}

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
  return fits_shared(input) ? std::optional(input) : std::nullopt;
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

std::vector<std::uint32_t> value_table(const Input& input, const float* mean, const float* std) {
  std::vector<std::uint32_t> table(3 * 256);
  for (unsigned c = 0; c < 3; ++c) {
    for (unsigned v = 0; v < 256; ++v) {
      std::uint32_t& entry = table[256 * c + v];
      entry = v;
      if (input.kind == kUInt8) continue;
      const float value = (static_cast<float>(v) / 255.0f - mean[c]) / std[c];
      if (input.kind == kFloat16)
        entry = half_of(value);
      else
        std::memcpy(&entry, &value, sizeof entry);
    }
  }
  return table;
}

Plan plan_for(const ferry_images_args& args, const Input& input) {
  double shrink = 1;
  for (std::int64_t i = 0; i < args.batch; ++i) {
    const ferry_image& p = args.images[i];
    shrink = std::max(
        {shrink, static_cast<double>(p.width) / p.resized_width, static_cast<double>(p.height) / p.resized_height});
  }
  const int needed = static_cast<int>(std::ceil(2 * shrink));
  Plan plan;
  Job& job = plan.job;
  job.batch = static_cast<std::int32_t>(args.batch);
  job.crop = input.crop;
  job.kind = input.kind;
  job.channels_last = input.channels_last ? 1 : 0;
  job.taps = needed <= 4 ? 4 : needed <= 6 ? 6 : needed <= 8 ? 8 : 16;
  plan.kernel = job.taps == 4   ? "ferry_prepare_4"
                : job.taps == 6 ? "ferry_prepare_6"
                : job.taps == 8 ? "ferry_prepare_8"
                                : "ferry_prepare_16";
  // Tall tiles read fewer rows twice; a small batch wants more blocks.
  job.tile = args.batch >= 8 ? 16 : args.batch >= 2 ? 8 : 4;
  const auto shared = [&] {
    return shared_bytes(job, static_cast<int>(std::ceil((job.tile - 1) * shrink)) + job.taps + 1);
  };
  while (job.tile > 1 && shared() > static_cast<int>(kSharedLimit)) job.tile /= 2;
  plan.shared_bytes = static_cast<unsigned>(shared());
  const auto crop = static_cast<unsigned>(job.crop), batch = static_cast<unsigned>(job.batch);
  plan.weigh.grid = {(crop + 127) / 128, 2, batch};
  plan.weigh.block = {128, 1, 1};
  const unsigned columns = std::min((crop + 31) / 32 * 32, 256u);
  plan.prepare.block = {columns, std::max(1u, 448 / columns), 1};
  plan.prepare.grid = {(crop + static_cast<unsigned>(job.tile) - 1) / static_cast<unsigned>(job.tile), batch, 1};
  plan.prepare.shared_bytes = plan.shared_bytes;
  return plan;
}

std::size_t axes_bytes(const Job& job) {
  return static_cast<std::size_t>(axis_ints(job)) * 2 * static_cast<std::size_t>(job.batch) * sizeof(std::int32_t);
}

namespace {

template <int kTaps>
void run_block(const Plan& plan, int picture, int top, std::uint32_t* shared) {
  const Job& job = plan.job;
  auto* const between = reinterpret_cast<std::uint8_t*>(shared + kValueBytes / 4);
  std::memcpy(shared, job.values, kValueBytes);
  const Rows rows = rows_of(job, picture, top);
  const int nx = static_cast<int>(plan.prepare.block[0]), ny = static_cast<int>(plan.prepare.block[1]);
  for (int t = 0; t < nx * ny; ++t) shrink_width<kTaps>(job, picture, rows, t % nx, nx, t / nx, ny, between);
  for (int t = 0; t < nx * ny; ++t) shrink_height<kTaps>(job, picture, top, rows, t, nx * ny, between, shared);
}

}  // namespace

void run_on_host(const Plan& plan) {
  const Job& job = plan.job;
  const auto run = job.taps == 4   ? run_block<4>
                   : job.taps == 6 ? run_block<6>
                   : job.taps == 8 ? run_block<8>
                                   : run_block<16>;
  std::vector<std::uint32_t> shared(plan.shared_bytes / 4);
  for (int picture = 0; picture < job.batch; ++picture) {
    for (int output = 0; output < 2 * job.crop; ++output) weigh(job, picture, output / job.crop, output % job.crop);
    for (int top = 0; top < job.crop; top += job.tile) run(plan, picture, top, shared.data());
  }
}

}  // namespace ferry::pictures
