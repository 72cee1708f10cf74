#include "cuda/weights.h"

#include <cstring>
#include <map>

#include "cuda/chains.h"
#include "cuda/pack.h"

namespace ferry::latency {
namespace {

class Packer {
 public:
  Packer(const ReadLayers& read, const Machine& machine) : read_(read), machine_(machine) {}

  Place pack(std::size_t i, const PlannedBatch& batch) {
    const Layer& layer = read_.layers.layers[i];
    if (layer.kind == LayerKind::kConv) return pack_conv_layer(i, batch);
    if (layer.kind != LayerKind::kDense) return {};
    const LayerWeights& from = read_.weights[i];
    const int classes = read_.layers.out(layer).channels;
    Place place;
    place.weights = put(pack_dense(classes, read_.layers.in(layer).channels, halves(from)));
    place.bias = put(pack_floats(classifier_bias(from, classes), classes));
    return place;
  }

  std::string bytes;

 private:
  Place pack_conv_layer(std::size_t i, const PlannedBatch& batch) {
    const Layers& layers = read_.layers;
    const Layer& layer = layers.layers[i];
    const LayerWeights& from = read_.weights[i];
    const int in = layers.in(layer).channels, out = layers.out(layer).channels;
    const auto conv = describe_conv(layers, layer, batch.tiles[i], batch.images,
                                    stack_room(layers, in_clusters(machine_, batch.clusters)));
    const bool int8 = conv->flags & kInt8In;
    Place place;
    place.weights = put(pack_conv(*conv, out, in, layer.kernel, int8 ? std::string(from.weights) : halves(from)));
    std::vector<float> bias = bias_of(from, out);
    if (!layers.int8()) {
      place.bias = put(pack_floats(bias, conv->N));
      return place;
    }
    // (sum * scales + bias) / step, and nothing left to divide at run time.
    std::vector<float> factors(static_cast<std::size_t>(out), 1);
    const float step = output_step(layers, layer);
    for (std::size_t n = 0; n < factors.size(); ++n) {
      factors[n] = (int8 ? layers.scale(layer.in) * from.scales[n] : 1) / step;
      bias[n] /= step;
    }
    place.bias = put(pack_floats(bias, conv->N) + pack_floats(factors, conv->N));
    return place;
  }

  static std::string halves(const LayerWeights& from) {
    return from.scales.empty() ? std::string(from.weights) : dequantised(from.weights, from.scales);
  }
  static std::vector<float> bias_of(const LayerWeights& from, int count) {
    std::vector<float> values(static_cast<std::size_t>(count), 0);
    if (from.bias.empty()) return values;
    if (from.scales.empty()) return floats_of(from.bias, count);
    std::memcpy(values.data(), from.bias.data(), values.size() * sizeof(float));
    return values;
  }

  /// With what the graph takes off the input, times the weights.
  static std::vector<float> classifier_bias(const LayerWeights& from, int classes) {
    std::vector<float> bias = bias_of(from, classes);
    if (from.subtracted == 0) return bias;
    const std::size_t features = from.weights.size() / from.scales.size();
    for (std::size_t c = 0; c < from.scales.size(); ++c) {
      int sum = 0;
      for (const char weight : from.weights.substr(c * features, features)) sum += static_cast<std::int8_t>(weight);
      bias[c] -= static_cast<float>(static_cast<double>(from.subtracted) * sum * from.scales[c]);
    }
    return bias;
  }

  std::uint64_t put(const std::string& values) {
    bytes.resize((bytes.size() + 255) / 256 * 256, '\0');
    const std::uint64_t at = bytes.size();
    bytes += values;
    return at;
  }

  const ReadLayers& read_;
  const Machine& machine_;
};

}  // namespace

std::string pack_weights(const ReadLayers& read, const Machine& machine, std::vector<PlannedBatch>& batches,
                         const std::function<void(std::int64_t, std::int64_t)>& step) {
  Packer packer(read, machine);
  std::map<std::vector<int>, std::vector<Place>> packed;  // by the layers of a phase and their tiles' channels
  std::int64_t done = 0;
  for (PlannedBatch& batch : batches) {
    batch.places.assign(read.layers.layers.size(), {});
    const auto phases = schedule(read.layers, batch.images, batch.clusters);
    for (const std::vector<int>& phase : phases) {
      std::vector<int> key = phase;
      for (const int i : phase) key.push_back(batch.tiles[static_cast<std::size_t>(i)].channels());
      std::vector<Place>& places = packed[key];
      for (std::size_t k = places.size(); k < phase.size(); ++k)
        places.push_back(packer.pack(static_cast<std::size_t>(phase[k]), batch));
      for (std::size_t k = 0; k < places.size(); ++k) batch.places[static_cast<std::size_t>(phase[k])] = places[k];
    }
    step(++done, static_cast<std::int64_t>(batches.size()));
  }
  return std::move(packer.bytes);
}

}  // namespace ferry::latency
