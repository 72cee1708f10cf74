#include "cuda/plan_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "nvinfer/failure.h"

namespace ferry::latency {
namespace {

using Json = nlohmann::json;

constexpr char kMagic[] = "ferrylat";
// Goes up when the order of the packed weights, the meaning of a tile or what a batch says changes.
constexpr std::uint32_t kFormat = 3;
constexpr std::size_t kPreamble = 32, kAlignment = 256, kMaxLayers = 4096;

struct Preamble {
  char magic[8];
  std::uint32_t format, json_bytes;
  std::uint64_t file_bytes, checksum;
};
static_assert(sizeof(Preamble) == kPreamble);

class Checksum {
 public:
  void add(std::string_view bytes) {  // all but the last piece must be a multiple of eight
    while (bytes.size() >= 8) {
      std::uint64_t word;
      std::memcpy(&word, bytes.data(), 8);
      mix(word);
      bytes.remove_prefix(8);
    }
    std::uint64_t rest = bytes.size();
    if (!bytes.empty()) std::memcpy(&rest, bytes.data(), bytes.size());
    if (!bytes.empty()) mix(rest);
  }
  std::uint64_t value() const { return value_; }

 private:
  void mix(std::uint64_t word) {
    value_ = (value_ ^ word) * 0x9e3779b97f4a7c15ULL;
    value_ ^= value_ >> 32;
  }
  std::uint64_t value_ = 0x66657272796c6174ULL;
};

const char* kind_name(LayerKind kind) {
  switch (kind) {
    case LayerKind::kConv:
      return "conv";
    case LayerKind::kMaxPool:
      return "max_pool";
    case LayerKind::kAveragePool:
      return "average_pool";
    case LayerKind::kDense:
      break;
  }
  return "dense";
}

[[noreturn]] void damaged(const std::string& why) {
  throw nvinfer::Failure("plan", "the plan is damaged: " + why, "build it again from its ONNX file (ferry build)");
}

LayerKind kind_named(const std::string& name) {
  for (const LayerKind kind : {LayerKind::kConv, LayerKind::kMaxPool, LayerKind::kAveragePool, LayerKind::kDense})
    if (name == kind_name(kind)) return kind;
  damaged("there is no layer kind '" + name + "'");
}

Json layer_json(const Layer& layer) {
  Json json{{"name", layer.name}, {"kind", kind_name(layer.kind)}, {"in", layer.in}, {"out", layer.out}};
  if (layer.kind == LayerKind::kConv) {
    json.update({{"kernel", layer.kernel}, {"stride", layer.stride}, {"relu", layer.relu}});
    if (layer.residual >= 0) json["residual"] = layer.residual;
  }
  return json;
}

Json batch_json(const PlannedBatch& batch) {
  Json tiles = Json::array(), places = Json::array();
  for (const Tile& t : batch.tiles) tiles.push_back({t.mf, t.nf, t.wm, t.wn, t.passes});
  for (const Place& place : batch.places) places.push_back({place.weights, place.bias});
  return {{"images", batch.images},
          {"predicted_ms", batch.predicted_ms},
          {"clusters", batch.clusters},
          {"tiles", tiles},
          {"places", places}};
}

Json describe(const Plan& plan) {
  Json tensors = Json::array(), layers = Json::array(), batches = Json::array();
  for (const Shape& s : plan.layers.tensors) tensors.push_back({s.height, s.width, s.channels});
  for (const Layer& layer : plan.layers.layers) layers.push_back(layer_json(layer));
  for (const PlannedBatch& batch : plan.batches) batches.push_back(batch_json(batch));
  Json profiles = Json::array();
  for (const nvinfer::Profile& p : plan.profiles) profiles.push_back({p.min, p.opt, p.max});
  Json description{{"made_for",
                    {{"gpu", plan.gpu},
                     {"compute_capability", plan.compute_capability},
                     {"multiprocessors", plan.multiprocessors},
                     {"shared_bytes", plan.shared_bytes}}},
                   {"input", plan.layers.input},
                   {"output", plan.layers.output},
                   {"batch", plan.layers.batch},
                   {"tensors", tensors},
                   {"layers", layers},
                   {"profiles", profiles},
                   {"batches", batches}};
  if (plan.layers.int8()) description["scales"] = plan.layers.scales;
  return description;
}

/// A whole number that fits an int; nlohmann would wrap a larger one.
int whole(const Json& value) {
  if (!value.is_number_integer()) damaged("a number is missing");
  const auto number = value.get<std::int64_t>();
  if (number < -1 || number > 1 << 28) damaged("a number is out of range");
  return static_cast<int>(number);
}

int whole(const Json& object, const char* key, int otherwise) {
  return object.contains(key) ? whole(object[key]) : otherwise;
}

/// A number as a float; check_layers refuses what is no scale.
float real(const Json& value) {
  if (!value.is_number()) damaged("a number is missing");
  const double number = value.get<double>();
  return std::fabs(number) < 1e30 ? static_cast<float>(number) : -1;
}

/// Where something begins in the weights. nlohmann would convert any number, one beyond the type with undefined
/// behaviour.
std::uint64_t offset(const Json& value) {
  if (!value.is_number_unsigned()) damaged("an offset is no whole number");
  return value.get<std::uint64_t>();
}

void read_layer(const Json& json, Plan& plan) {
  Layer layer;
  layer.name = json.at("name").get<std::string>();
  layer.kind = kind_named(json.at("kind").get<std::string>());
  layer.in = whole(json.at("in"));
  layer.out = whole(json.at("out"));
  layer.residual = whole(json, "residual", -1);
  layer.kernel = whole(json, "kernel", 1);
  layer.stride = whole(json, "stride", 1);
  layer.relu = json.value("relu", false);
  plan.layers.layers.push_back(std::move(layer));
}

PlannedBatch read_batch(const Json& json) {
  PlannedBatch batch;
  batch.images = whole(json.at("images"));
  batch.predicted_ms = json.at("predicted_ms").get<double>();
  batch.clusters = whole(json.at("clusters"));
  for (const Json& t : json.at("tiles"))
    batch.tiles.push_back({whole(t.at(0)), whole(t.at(1)), whole(t.at(2)), whole(t.at(3)), whole(t.at(4))});
  for (const Json& place : json.at("places")) batch.places.push_back({offset(place.at(0)), offset(place.at(1))});
  return batch;
}

void read_description(const Json& json, Plan& plan) {
  const Json& made_for = json.at("made_for");
  plan.gpu = made_for.at("gpu").get<std::string>();
  plan.compute_capability = made_for.at("compute_capability").get<std::string>();
  plan.multiprocessors = whole(made_for.at("multiprocessors"));
  plan.shared_bytes = whole(made_for.at("shared_bytes"));
  plan.layers.input = json.at("input").get<std::string>();
  plan.layers.output = json.at("output").get<std::string>();
  if (json.at("layers").size() > kMaxLayers || json.at("tensors").size() > kMaxLayers + 1)
    damaged("it has too many layers");
  for (const Json& t : json.at("tensors"))
    plan.layers.tensors.push_back({whole(t.at(0)), whole(t.at(1)), whole(t.at(2))});
  if (json.contains("scales"))
    for (const Json& scale : json["scales"]) plan.layers.scales.push_back(real(scale));
  for (const Json& layer : json.at("layers")) read_layer(layer, plan);
  plan.layers.batch = whole(json, "batch", -1);
  for (const Json& p : json.at("profiles")) plan.profiles.push_back({whole(p.at(0)), whole(p.at(1)), whole(p.at(2))});
  for (const Json& batch : json.at("batches")) plan.batches.push_back(read_batch(batch));
}

void check_batches(const Plan& plan) {
  if (plan.batches.empty()) damaged("it is for no batch size");
  int before = 0;
  for (const PlannedBatch& batch : plan.batches) {
    if (batch.images <= before || batch.images > kMaxImages) damaged("its batch sizes are not in order");
    if (batch.clusters < 0 || batch.clusters > 1 << 16) damaged("it is for an impossible number of clusters");
    if (batch.tiles.size() != plan.layers.layers.size() || batch.places.size() != plan.layers.layers.size())
      damaged("a batch has tiles or weights for another number of layers");
    before = batch.images;
  }
  for (const nvinfer::Profile& p : plan.profiles) {
    bool covered = p.min >= 1 && p.min <= p.opt && p.opt <= p.max && p.max <= kMaxImages;
    for (std::int64_t images = p.min; covered && images <= p.max; ++images)
      covered =
          std::any_of(plan.batches.begin(), plan.batches.end(), [&](const auto& b) { return b.images == images; });
    if (!covered) damaged("a batch of its profiles was not planned");
  }
  if (plan.profiles.empty()) damaged("it has no profiles");
}

Preamble read_preamble(std::string_view bytes) {
  Preamble preamble{};
  if (bytes.size() < kPreamble || bytes.substr(0, 8) != kMagic)
    throw nvinfer::Failure("plan", "this is no plan of ferry's latency engine",
                           "build one from its ONNX file: ferry build --backend cuda");
  std::memcpy(&preamble, bytes.data(), kPreamble);
  if (preamble.format != kFormat)
    throw nvinfer::Failure("plan",
                           "the plan has format " + std::to_string(preamble.format) + ", this ferry reads format " +
                               std::to_string(kFormat),
                           "build it again from its ONNX file (ferry build)");
  if (preamble.file_bytes != bytes.size())
    damaged("it should have " + std::to_string(preamble.file_bytes) + " bytes and has " + std::to_string(bytes.size()));
  return preamble;
}

std::size_t weights_begin(std::size_t json_bytes) {
  return (kPreamble + json_bytes + kAlignment - 1) / kAlignment * kAlignment;
}

}  // namespace

std::string plan_head(const Plan& plan) {
  const std::string json = describe(plan).dump();
  std::string head(weights_begin(json.size()), '\0');
  head.replace(kPreamble, json.size(), json);
  Checksum checksum;
  checksum.add(std::string_view(head).substr(kPreamble));
  checksum.add(plan.weights);
  Preamble preamble{
      {}, kFormat, static_cast<std::uint32_t>(json.size()), head.size() + plan.weights.size(), checksum.value()};
  std::memcpy(preamble.magic, kMagic, sizeof preamble.magic);
  std::memcpy(head.data(), &preamble, kPreamble);
  return head;
}

std::uint64_t checksum_of(std::string_view bytes) {
  Checksum checksum;
  checksum.add(bytes);
  return checksum.value();
}

Plan read_plan(std::string_view bytes) {
  const Preamble preamble = read_preamble(bytes);
  const std::size_t begin = weights_begin(preamble.json_bytes);
  if (begin > bytes.size()) damaged("its description is cut off");
  if (checksum_of(bytes.substr(kPreamble)) != preamble.checksum) damaged("its checksum does not match");
  Plan plan;
  const Json json = Json::parse(bytes.substr(kPreamble, preamble.json_bytes), nullptr, false);
  if (!json.is_object()) damaged("its description is not JSON");
  try {
    read_description(json, plan);
  } catch (const Json::exception& error) {
    damaged(error.what());
  }
  plan.weights = bytes.substr(begin);
  check_batches(plan);
  check_layers(plan.layers);
  return plan;
}

}  // namespace ferry::latency
