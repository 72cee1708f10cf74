// What a plan computes, by the emulated kernel, without a driver.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "cuda/plan_file.h"
#include "cuda/program.h"
#include "cuda/weights.h"
#include "gpu/latency_emulator.h"

namespace ferry::latency {

/// The outputs of `images` seeded pictures, computed as a plan for `machine` says.
inline std::vector<float> emulated_run(const std::string& model, int images, const Machine& machine) {
  const ReadLayers read = read_layers(read_onnx(model));
  std::vector<PlannedBatch> batches{
      {images, choose_tiles(read.layers, images, machine).tiles, {}, 0, machine.clusters}};
  const std::string weights = pack_weights(read, machine, batches, [](std::int64_t, std::int64_t) {});
  const PlannedBatch& batch = batches.front();
  const Program program = make_program(read.layers, batch.tiles, batch.places, weights.size(), images, machine);
  const Shape& image = read.layers.tensors.front();
  std::vector<float> input(static_cast<std::size_t>(images * 3 * image.height * image.width));
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (float& value : input) value = normal(random);
  std::vector<float> output(static_cast<std::size_t>(images * read.layers.out(read.layers.layers.back()).channels));
  std::vector<char> arena(program.arena_bytes, '\x7f');  // NaN, or 127
  Net net{};
  net.convs = program.convs.data();
  net.weights = weights.data();
  net.arena = arena.data();
  net.input = input.data();
  net.output = output.data();
  for (const Phase& phase : program.phases) emulate(net, phase);
  return output;
}

}  // namespace ferry::latency
