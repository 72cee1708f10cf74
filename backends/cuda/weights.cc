#include "cuda/weights.h"

#include <map>

#include "cuda/pack.h"

namespace ferry::latency {
namespace {

class Packer {
 public:
  Packer(const ReadLayers& read, const Machine& machine)
      : read_(read), room_(stack_room(read.layers, machine.shared_bytes)) {}

  Place pack(std::size_t i, const PlannedBatch& batch) {
    const Layers& layers = read_.layers;
    const Layer& layer = layers.layers[i];
    const LayerWeights& from = read_.weights[i];
    const int in = layers.in(layer).channels, out = layers.out(layer).channels;
    Place place;
    if (layer.kind == LayerKind::kConv) {
      const auto conv = describe_conv(layers, layer, batch.tiles[i], batch.images, room_);
      place.weights = put(pack_conv(*conv, out, in, layer.kernel, from.weights));
      place.bias = put(pack_bias(from.bias, out, conv->N));
    } else if (layer.kind == LayerKind::kDense) {
      place.weights = put(pack_dense(out, in, from.weights));
      place.bias = put(pack_bias(from.bias, out, out));
    }
    return place;
  }

  std::string bytes;

 private:
  std::uint64_t put(const std::string& values) {
    bytes.resize((bytes.size() + 255) / 256 * 256, '\0');
    const std::uint64_t at = bytes.size();
    bytes += values;
    return at;
  }

  const ReadLayers& read_;
  int room_;
};

}  // namespace

std::string pack_weights(const ReadLayers& read, const Machine& machine, std::vector<PlannedBatch>& batches,
                         const std::function<void(std::int64_t, std::int64_t)>& step) {
  Packer packer(read, machine);
  std::map<std::vector<int>, std::vector<Place>> packed;  // by the phase and its tiles' channels
  const auto phases = schedule(read.layers);
  std::int64_t done = 0;
  for (PlannedBatch& batch : batches) {
    batch.places.assign(read.layers.layers.size(), {});
    for (std::size_t p = 0; p < phases.size(); ++p) {
      std::vector<int> key{static_cast<int>(p)};
      for (const int i : phases[p]) key.push_back(batch.tiles[static_cast<std::size_t>(i)].channels());
      std::vector<Place>& places = packed[key];
      for (std::size_t k = places.size(); k < phases[p].size(); ++k)
        places.push_back(packer.pack(static_cast<std::size_t>(phases[p][k]), batch));
      for (std::size_t k = 0; k < places.size(); ++k) batch.places[static_cast<std::size_t>(phases[p][k])] = places[k];
      step(++done, static_cast<std::int64_t>(batches.size() * phases.size()));
    }
  }
  return std::move(packer.bytes);
}

}  // namespace ferry::latency
