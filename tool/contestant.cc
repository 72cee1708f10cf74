#include "contestant.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "ferry/error.h"

namespace ferry::tool {
namespace {

using Clock = std::chrono::steady_clock;

const Engine& with_one_port_each(const Engine& engine) {
  const EngineInfo& info = engine.info();
  if (info.inputs.size() != 1 || info.outputs.size() != 1 || info.inputs[0].shape.empty())
    throw Error(Stage::kCompare, info.backend_display_name,
                fmt::format("the engine has {} inputs and {} outputs; an image network has one of each",
                            info.inputs.size(), info.outputs.size()));
  return engine;
}

// All bits set is NaN in every floating-point type.
void poison(Tensor& tensor) { std::memset(tensor.data(), 0xFF, tensor.size_bytes()); }

}  // namespace

EngineContestant::EngineContestant(Engine engine, const std::string& precision)
    : engine_(with_one_port_each(engine)), session_(engine_.new_session()) {
  const EngineInfo& info = engine_.info();
  row.engine = info.backend_display_name;
  row.backend = info.backend;
  row.precision = precision;
  row.device = info.device.name;
  row.device_kind = info.device.kind;
  row.sdk_version = info.sdk_version;
}

// The first run goes through `Session::run`, which checks shape, type and batch and knows the output's shape; those
// that are timed go through submit and wait, which allocate nothing.
void EngineContestant::prepare(const TensorView& input) {
  const DType wanted = engine_.info().inputs[0].dtype;
  input_ = input;
  if (input.dtype != wanted) {
    converted_ = convert(input, wanted);
    input_ = converted_.view();
  }
  batch_ = input.shape[0];
  output_ = session_.run(input_);
  in_ = {input_.data};
  out_ = {output_.data()};
}

RunRecord EngineContestant::run(bool resident) {
  if (!resident) poison(output_);
  RunRecord record;
  const auto begin = Clock::now();
  session_.submit(batch_, in_, out_, resident);
  session_.wait(&record.times);
  record.wall_ms = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
  return record;
}

Tensor EngineContestant::output() { return convert(output_.view(), DType::kFloat32); }

std::optional<Tensor> EngineContestant::resident_output() {
  if (!has_resident()) return std::nullopt;
  Tensor fetched(output_.dtype(), output_.shape());
  poison(fetched);
  session_.submit(batch_, {input_.data}, {fetched.data()}, true, true);
  session_.wait();
  return convert(fetched.view(), DType::kFloat32);
}

PeerContestant::PeerContestant(std::shared_ptr<PythonPeers> peers, PeerMode mode)
    : peers_(std::move(peers)), mode_(std::move(mode)) {
  row.engine = mode_.display_name;
  row.backend = "python";
  row.precision = mode_.precision;
  row.device = peers_->about().value("device_name", "");
  row.device_kind = peers_->on_gpu() ? "gpu" : "cpu";
  row.sdk_version = peers_->version();
}

PeerContestant::~PeerContestant() { drop(); }

void PeerContestant::drop() {
  if (id_ < 0) return;
  const int id = id_;
  id_ = -1;
  try {
    peers_->drop(id);
  } catch (const Error&) {  // the worker is gone, and what it held with it
  }
}

RunRecord PeerContestant::run(bool resident) {
  if (resident != block_resident_) block_.clear();  // what is left belongs to another turn
  block_resident_ = resident;
  if (block_.empty()) {
    constexpr double kBlock_ms = 50;
    constexpr double kLargest = 64;
    int& size = block_sizes_[resident ? 1 : 0];
    block_ = peers_->run(id_, resident, size);
    std::reverse(block_.begin(), block_.end());
    size = static_cast<int>(std::clamp(kBlock_ms / std::max(block_.front().wall_ms, 1e-3), 1.0, kLargest));
  }
  const RunRecord record = block_.back();
  block_.pop_back();
  return record;
}

void PeerContestant::prepare(const TensorView& input) {
  drop();
  block_.clear();
  block_sizes_ = {1, 1};  // how long a run takes is not known yet
  id_ = peers_->prepare(mode_, input);
}

}  // namespace ferry::tool
