// Engines and sessions: requests are checked here, so that a module sees only what its engine takes.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>

#include "engine/backend_impl.h"

namespace ferry {
namespace {

std::string allowed_batches(const EngineInfo& info) {
  std::string text;
  for (const BatchProfile& p : info.profiles) text += fmt::format("{}{} to {}", text.empty() ? "" : ", ", p.min, p.max);
  if (text.empty()) text = info.max_batch ? fmt::format("1 to {}", *info.max_batch) : "1 or more";
  return text;
}

void check_batch(const EngineInfo& info, std::int64_t batch) {
  const auto holds = [&](const BatchProfile& p) { return p.min <= batch && batch <= p.max; };
  bool ok = batch >= 1 && (!info.max_batch || batch <= *info.max_batch);
  if (ok && !info.profiles.empty()) ok = std::any_of(info.profiles.begin(), info.profiles.end(), holds);
  if (ok) return;
  throw Error(Stage::kRun, info.backend_display_name,
              fmt::format("a batch of {} was asked for; this engine takes {}", batch, allowed_batches(info)),
              info.profiles.empty() ? "" : "Build an engine with a wider range: ferry build --batch min:opt:max");
}

/// `port` with its batch dimension set.
Shape at_batch(const Port& port, std::int64_t batch) {
  Shape shape = port.shape;
  if (!shape.empty()) shape[0] = batch;
  return shape;
}

/// Checks type and all dimensions but the batch, which it returns.
std::int64_t check_input(const EngineInfo& info, const Port& port, const TensorView& input) {
  if (input.dtype != port.dtype)
    throw Error(Stage::kRun, fmt::format("input '{}'", port.name),
                fmt::format("the type is {}; this engine takes {}", name_of(input.dtype), name_of(port.dtype)));
  const bool same_rank = input.shape.size() == port.shape.size() && !input.shape.empty();
  if (!same_rank || !std::equal(input.shape.begin() + 1, input.shape.end(), port.shape.begin() + 1))
    throw Error(Stage::kRun, fmt::format("input '{}'", port.name),
                fmt::format("the shape is {}; this engine takes {}", to_string(input.shape), to_string(port.shape)));
  check_batch(info, input.shape[0]);
  if (input.data == nullptr) throw Error(Stage::kRun, fmt::format("input '{}'", port.name), "the data pointer is null");
  return input.shape[0];
}

bool aligned(const TensorView& view) { return reinterpret_cast<std::uintptr_t>(view.data) % size_of(view.dtype) == 0; }

}  // namespace

Engine::Engine(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

const EngineInfo& Engine::info() const noexcept { return impl_->info; }

std::optional<Telemetry> Engine::telemetry() const { return impl_->telemetry(); }

Session Engine::new_session() const { return Session(impl_->new_session(impl_)); }

Session::Session(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

std::vector<Tensor> Session::run(const std::vector<TensorView>& inputs, RunTimes* times) {
  const EngineInfo& info = impl_->engine->info;
  if (inputs.size() != info.inputs.size())
    throw Error(Stage::kRun, info.backend_display_name,
                fmt::format("{} inputs were given; this engine takes {}", inputs.size(), info.inputs.size()));
  std::int64_t batch = 0;
  std::vector<Tensor> copies;  // of inputs whose memory is not aligned for their type
  std::vector<const std::byte*> in;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::int64_t n = check_input(info, info.inputs[i], inputs[i]);
    if (i > 0 && n != batch)
      throw Error(Stage::kRun, fmt::format("input '{}'", info.inputs[i].name),
                  fmt::format("the batch is {}, that of the first input is {}", n, batch));
    batch = n;
    if (!aligned(inputs[i])) copies.push_back(Tensor::copy_of(inputs[i]));
    in.push_back(aligned(inputs[i]) ? inputs[i].data : copies.back().data());
  }
  std::vector<Tensor> outputs;
  std::vector<std::byte*> out;
  for (const Port& port : info.outputs) {
    Tensor& output = outputs.emplace_back(port.dtype, at_batch(port, batch));
    std::memset(output.data(), 0xFF, output.size_bytes());  // NaN: an output that nobody writes must not look like one
    out.push_back(output.data());
  }
  submit(batch, in, out);
  wait(times);
  return outputs;
}

Tensor Session::run(const TensorView& input, RunTimes* times) {
  if (impl_->engine->info.outputs.size() != 1)
    throw Error(Stage::kRun, impl_->engine->info.backend_display_name,
                fmt::format("this engine has {} outputs; ask for all of them", impl_->engine->info.outputs.size()));
  return std::move(run(std::vector<TensorView>{input}, times).front());
}

Session::Staging Session::staging(std::int64_t batch) {
  const EngineInfo& info = impl_->engine->info;
  check_batch(info, batch);
  std::vector<void*> inputs(info.inputs.size()), outputs(info.outputs.size());
  impl_->staging(batch, inputs.data(), outputs.data());
  Staging staging;
  for (void* p : inputs) staging.inputs.push_back(static_cast<std::byte*>(p));
  for (void* p : outputs) staging.outputs.push_back(static_cast<std::byte*>(p));
  return staging;
}

void Session::submit(std::int64_t batch, const std::vector<const std::byte*>& inputs,
                     const std::vector<std::byte*>& outputs, bool resident, bool fetch) {
  const EngineInfo& info = impl_->engine->info;
  check_batch(info, batch);
  const bool reads = !resident, writes = !resident || fetch;
  if ((reads && inputs.size() != info.inputs.size()) || (writes && outputs.size() != info.outputs.size()))
    throw Error(Stage::kRun, info.backend_display_name,
                fmt::format("{} inputs and {} outputs were given; this engine has {} and {}", inputs.size(),
                            outputs.size(), info.inputs.size(), info.outputs.size()));
  if (resident && !info.resident)
    throw Error(Stage::kRun, info.backend_display_name, "this engine works in host memory: it has no resident mode");
  if (reads) std::copy(inputs.begin(), inputs.end(), impl_->in.begin());
  if (writes) std::copy(outputs.begin(), outputs.end(), impl_->out.begin());
  ferry_run_args args{};
  args.struct_size = sizeof args;
  args.batch = batch;
  args.inputs = impl_->in.data();
  args.outputs = impl_->out.data();
  args.flags = (resident ? FERRY_RUN_RESIDENT : 0) | (resident && fetch ? FERRY_RUN_FETCH : 0);
  impl_->submit(args);
}

namespace {

ferry_image placed(const StagedImage& i) {
  return {i.offset,     i.stride,      i.width,         i.height,         i.part_left, i.part_top,
          i.part_width, i.part_height, i.resized_width, i.resized_height, i.crop_left, i.crop_top};
}

}  // namespace

void require_images(const EngineInfo& info, bool entry) {
  if (info.images && entry) return;
  throw Error(Stage::kRun, info.backend_display_name, "this engine takes no pictures as pixels: prepare them first");
}

std::byte* Session::image_staging(std::uint64_t size) {
  require_images(impl_->engine->info);
  return static_cast<std::byte*>(impl_->image_staging(size));
}

void Session::submit_images(const std::vector<StagedImage>& images, std::uint64_t used,
                            const std::array<float, 3>& mean, const std::array<float, 3>& std,
                            const std::vector<std::byte*>& outputs) {
  const EngineInfo& info = impl_->engine->info;
  require_images(info);
  check_batch(info, static_cast<std::int64_t>(images.size()));
  if (outputs.size() != info.outputs.size())
    throw Error(Stage::kRun, info.backend_display_name,
                fmt::format("{} outputs were given; this engine has {}", outputs.size(), info.outputs.size()));
  std::vector<ferry_image> all;
  all.reserve(images.size());
  for (const StagedImage& image : images) all.push_back(placed(image));
  const std::vector<void*> out(outputs.begin(), outputs.end());
  ferry_images_args args{};
  args.struct_size = sizeof args;
  args.batch = static_cast<std::int64_t>(images.size());
  args.images = all.data();
  args.used = used;
  std::copy(mean.begin(), mean.end(), args.mean);
  std::copy(std.begin(), std.end(), args.std);
  args.outputs = out.data();
  impl_->submit_images(args);
}

void Session::wait(RunTimes* times) {
  constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
  ferry_times measured{kUnknown, kUnknown, kUnknown, kUnknown};
  impl_->wait(times == nullptr ? nullptr : &measured);  // nobody asks: the module need not find out
  if (times != nullptr) *times = {measured.enqueue_ms, measured.h2d_ms, measured.compute_ms, measured.d2h_ms};
}

std::optional<LayerProfile> Session::profile(std::int64_t batch, int runs) {
  check_batch(impl_->engine->info, batch);
  return impl_->profile(batch, runs);
}

}  // namespace ferry
