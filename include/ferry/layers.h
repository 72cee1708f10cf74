// Where the time of a network goes: each layer's time beside the least time that the device could need for it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace ferry {

/// One layer as the engine runs it (several of the graph's may be fused into one). NaN and empty stand for what the
/// engine does not tell.
struct LayerTime {
  std::string name;       // "layer1.0.conv1 + relu"
  std::string kind;       // the engine's word: "CaskConvolution"
  std::string kernel;     // "sm90_xmma_fprop_implicit_gemm_..."
  std::string precision;  // "Half", "Float", "Int8": what its products are made of
  double ms = 0;          // median over the runs
  double flops = 0;       // a multiply-add counts as two
  double bytes = 0;       // weights, inputs and outputs, each once
  double floor_ms = 0;    // the larger of flops / peak and bytes / bandwidth; NaN without either
};

/// A run of the network with a clock around every layer: the sum is more than a run as one graph takes, because layers
/// neither overlap nor follow each other without a gap. Shares are what to read.
struct LayerProfile {
  std::int64_t batch = 1;
  int runs = 0;
  std::vector<LayerTime> layers;                   // in order of execution
  std::map<std::string, double> flops_per_second;  // peak of the device by precision; empty if unknown
  double bytes_per_second = 0;                     // peak of its memory; NaN if unknown

  /// Sums over the layers; the floor counts those that have one.
  double total_ms() const;
  double floor_ms() const;
};

/// Fills `floor_ms` of each layer from the peaks. Pure.
void set_floors(LayerProfile& profile);

}  // namespace ferry
