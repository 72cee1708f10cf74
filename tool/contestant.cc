#include "contestant.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "ferry/error.h"

namespace ferry::tool {
namespace {

using Clock = std::chrono::steady_clock;

bool gives_answers(const EngineInfo& info) {
  const std::vector<Port>& out = info.outputs;
  const bool top_k = out.size() == 2 && out[0].dtype == DType::kFloat32 && out[1].dtype == DType::kInt32;
  return out.size() == 1 || top_k;
}

const Engine& with_image_ports(const Engine& engine) {
  const EngineInfo& info = engine.info();
  if (info.inputs.size() != 1 || !gives_answers(info) || info.inputs[0].shape.empty())
    throw Error(Stage::kCompare, info.backend_display_name,
                fmt::format("the engine has {} inputs and {} outputs; an image network has one input, and gives scores "
                            "or probabilities and classes",
                            info.inputs.size(), info.outputs.size()));
  return engine;
}

// All bits set is NaN in every floating-point type, and no class.
void poison(Tensor& tensor) { std::memset(tensor.data(), 0xFF, tensor.size_bytes()); }

// Scores as float32; classes as they are.
std::vector<Tensor> readable(const std::vector<Tensor>& outputs) {
  std::vector<Tensor> result;
  result.reserve(outputs.size());
  for (const Tensor& output : outputs)
    result.push_back(output.dtype() == DType::kInt32 ? output.clone() : convert(output.view(), DType::kFloat32));
  return result;
}

}  // namespace

EngineContestant::EngineContestant(Engine engine, const std::string& precision, GraphForm form)
    : engine_(with_image_ports(engine)), session_(engine_.new_session()), form_(std::move(form)) {
  const EngineInfo& info = engine_.info();
  row.engine = info.backend_display_name;
  row.backend = info.backend;
  row.precision = precision;
  row.device = info.device.name;
  row.device_kind = info.device.kind;
  row.device_memory_bytes = info.device_memory_bytes;
  row.sdk_version = info.sdk_version;
}

ComparisonRow EngineContestant::row_at(std::int64_t batch) const {
  ComparisonRow result = row;
  const EnginePart* part = engine_.info().part_for(batch);
  if (part == nullptr) return result;
  result.engine = part->backend_display_name + " (plan set)";
  result.backend = part->backend;
  result.sdk_version = part->sdk_version;
  return result;
}

Shape EngineContestant::input_shape() const {
  Shape shape = engine_.info().inputs[0].shape;
  if (takes_pixels() && form_.input == InputForm::kUint8Nhwc && shape.size() == 4)
    shape = {shape[0], shape[3], shape[1], shape[2]};
  return shape;
}

Tensor EngineContestant::engine_input(const TensorView& pictures) const {
  return takes_pixels() ? pixels_of(pictures, form_) : convert(pictures, engine_.info().inputs[0].dtype);
}

// The first run goes through `Session::run`, which checks shape, type and batch and knows the output's shape; those
// that are timed go through submit and wait, which allocate nothing.
void EngineContestant::prepare(const TensorView& input) {
  input_ = input;
  if (input.dtype != engine_.info().inputs[0].dtype) {
    converted_ = engine_input(input);
    input_ = converted_.view();
  }
  batch_ = input.shape[0];
  outputs_ = session_.run(std::vector<TensorView>{input_});
  in_ = {input_.data};
  out_.clear();
  for (Tensor& output : outputs_) out_.push_back(output.data());
}

RunRecord EngineContestant::run(bool resident) {
  if (!resident) std::for_each(outputs_.begin(), outputs_.end(), poison);
  RunRecord record;
  const auto begin = Clock::now();
  session_.submit(batch_, in_, out_, resident);
  session_.wait(&record.times);
  record.wall_ms = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
  return record;
}

std::vector<Tensor> EngineContestant::outputs() { return readable(outputs_); }

std::vector<Tensor> EngineContestant::resident_outputs() {
  if (!has_resident()) return {};
  std::for_each(outputs_.begin(), outputs_.end(), poison);
  session_.submit(batch_, in_, out_, true, true);
  session_.wait();
  return readable(outputs_);
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

std::vector<Tensor> PeerContestant::outputs() {
  std::vector<Tensor> list;
  list.push_back(peers_->output(id_));
  return list;
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
