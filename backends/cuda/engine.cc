#include "cuda/engine.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "cuda/chains.h"
#include "cuda/executor.h"
#include "cuda/machine.h"
#include "cuda/support.h"
#include "cuda_support/stream.h"
#include "nvinfer/failure.h"

namespace ferry::latency {
namespace {

using nvinfer::Failure;

std::string_view plan_bytes(const ferry_open_args& args) {
  if (args.plan == nullptr || args.plan_size == 0)
    throw Failure("plan", "this engine opens plans, and was given none", "build one from its ONNX file (ferry build)");
  return {static_cast<const char*>(args.plan), args.plan_size};
}

nvinfer::OpenOptions read_options(const ferry_open_args& args) {
  nvinfer::OpenOptions options = nvinfer::parse_open_options(args.options_json);
  if (options.weight_budget_bytes)
    throw Failure("weight_budget_bytes", "this engine keeps all its weights on the device",
                  "leave the budget out (--weight-budget), or build with TensorRT and --weight-streaming");
  return options;
}

std::size_t row_bytes(const Shape& shape) {
  return sizeof(float) * static_cast<std::size_t>(shape.height) * static_cast<std::size_t>(shape.width) *
         static_cast<std::size_t>(shape.channels);
}

}  // namespace

Engine::Engine(const ferry_open_args& args)
    : options_(read_options(args)), log_(args.log), plan_(read_plan(plan_bytes(args))) {
  device_ = pick_device(options_.device);
  const Layers& layers = plan_.layers;
  const Shape &image = layers.tensors.front(), &classes = layers.out(layers.layers.back());
  inputs_ = {{layers.input, 1, {layers.batch, image.channels, image.height, image.width}, row_bytes(image)}};
  outputs_ = {{layers.output, 1, {layers.batch, classes.channels}, row_bytes(classes)}};
  if (plan_.compute_capability != device_.compute_capability())
    say(1, "the plan was made for compute capability " + plan_.compute_capability +
               ": it may be slower than one made here");
  if (options_.persistent_l2_bytes) say(1, "this engine reserves no L2: --persistent-l2 changes nothing");
  context_.emplace(device_.index);
  nvml_.emplace(device_.uuid);
  const cuda::Current current(*context_);
  kernel_.emplace(device_, plan_.layers.int8());
  upload();
  plan_.weights = {};  // the caller's bytes end with this call
}

Engine::~Engine() {
  try {
    const cuda::Current current(*context_);
    tables_ = cuda::DeviceBuffer();
    weights_ = cuda::DeviceBuffer();
    kernel_.reset();
  } catch (const std::exception&) {  // a lost context: the members go without it
  }
}

void Engine::upload() {
  std::string phases;
  for (const PlannedBatch& batch : plan_.batches) {
    const int wanted = batch.clusters, clusters = wanted > 0 ? kernel_->clusters() : 0;
    if (clusters < wanted)
      say(1, "the plan is for " + std::to_string(wanted) + " clusters of multiprocessors, this GPU forms " +
                 std::to_string(clusters) + ": it may be slower than one made here");
    const Machine machine = in_clusters({device_.multiprocessors, device_.shared_bytes}, clusters);
    Table table{make_program(plan_.layers, batch.tiles, batch.places, plan_.weights.size(), batch.images, machine)};
    const auto put = [&](const auto& rows) {
      const std::size_t at = phases.size();
      phases.append(reinterpret_cast<const char*>(rows.data()), rows.size() * sizeof(rows[0]));
      return at;
    };
    table.phases = put(table.program.phases);
    table.convs = put(table.program.convs);
    batches_.push_back(std::move(table));
  }
  const cuda::Stream stream;
  weights_ = cuda::DeviceBuffer(plan_.weights.size());
  tables_ = cuda::DeviceBuffer(phases.size());
  cuda::copy_to_device(weights_.data(), plan_.weights.data(), plan_.weights.size(), stream.handle());
  cuda::copy_to_device(tables_.data(), phases.data(), phases.size(), stream.handle());
  stream.synchronize();
}

std::size_t Engine::arena_bytes() const {
  std::size_t largest = 0;
  for (const Table& table : batches_) largest = std::max(largest, table.program.arena_bytes);
  return kCounterBytes + largest;
}

std::unique_ptr<nvinfer::Executor> Engine::make_executor(void* arena, std::size_t) {
  return std::make_unique<Executor>(*this, arena);
}

const Engine::Table& Engine::table_for(std::int64_t batch) const {
  for (std::size_t i = 0; i < batches_.size(); ++i)
    if (plan_.batches[i].images == batch) return batches_[i];
  throw Failure("batch " + std::to_string(batch), "the plan is for batches of " + nvinfer::ranges(plan_.profiles),
                "build again with --batch covering " + std::to_string(batch));
}

Net Engine::net_for(std::int64_t batch) const {
  const Table& table = table_for(batch);
  Net net{};
  const auto* tables = static_cast<const char*>(tables_.data());
  net.phases = reinterpret_cast<const Phase*>(tables + table.phases);
  net.convs = reinterpret_cast<const ConvDesc*>(tables + table.convs);
  net.count = static_cast<int>(table.program.phases.size());
  net.convs_count = static_cast<int>(table.program.convs.size());
  net.exchange = table.program.exchange_bytes;
  net.weights = static_cast<const char*>(weights_.data());
  return net;
}

std::string Engine::sdk_version() const { return kVersion; }

nvinfer::Proof Engine::proof() const { return proof_of(plan_.layers); }

std::string Engine::layers_json() const {
  nlohmann::json layers = nlohmann::json::array();
  for (const Layer& layer : plan_.layers.layers)
    layers.push_back({{"Name", layer.name}, {"Precision", precision_of(plan_.layers, layer)}});
  return nlohmann::json{{"Layers", layers}}.dump();
}

void Engine::say(int severity, const std::string& line) const {
  const std::lock_guard lock(log_mutex_);
  if (log_.line != nullptr) log_.line(log_.user, severity, line.c_str());
}

}  // namespace ferry::latency

namespace ferry::nvinfer {

std::shared_ptr<GpuEngine> open_engine(const ferry_open_args& args) { return std::make_shared<latency::Engine>(args); }

}  // namespace ferry::nvinfer
