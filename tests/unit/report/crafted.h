// A comparison with everything in it: a GPU row, a CPU row, a wrong row, a failed row, hostile names.
#pragma once

#include <limits>
#include <string>

#include "ferry/report.h"

namespace ferry {

inline Comparison crafted(const std::string& engine = "TensorRT for RTX") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto records = [&](double wall, double compute) {
    std::vector<std::vector<RunRecord>> rounds(5);
    for (std::size_t r = 0; r < rounds.size(); ++r)
      for (int i = 0; i < 20; ++i)
        rounds[r].push_back({wall + 0.001 * i, {0.1 * compute, 0.2 * compute, compute + 0.0001 * i, 0.1 * compute}});
    return rounds;
  };
  Comparison c;
  c.network = "resnet101";
  c.origin = "resnet101.pth";
  c.inputs = "random normal, seed 1";
  c.machine_json = machine_json({});
  c.command = "ferry compare resnet101.pth";
  c.started_at = timestamp();
  c.notes = {"TensorRT was skipped: its library is not here."};
  const auto row = [&](const std::string& name, const std::string& precision, std::int64_t batch, double wall,
                       double compute) {
    ComparisonRow r;
    r.engine = name;
    r.backend = "x";
    r.precision = precision;
    r.device = "NVIDIA GeForce RTX 4060";
    r.device_kind = "gpu";
    r.sdk_version = "1.7.1";
    r.measurement =
        summarise(records(wall, compute), records(wall, compute), batch, {Telemetry{1500, 5000, nan, nan, 1e9, 8e9}});
    r.measurement.engine = name;
    r.measurement.precision = precision;
    r.agreement = {true, "", 1.5e-3, 0.99999, 0.01, 1, 0.98, 64};
    return r;
  };
  for (const std::int64_t batch : {1, 8}) {
    const double b = static_cast<double>(batch);
    c.rows.push_back(row("PyTorch (LibTorch)", "fp32", batch, 6 * b, 5.4 * b));
    c.rows.back().baseline = true;
    c.rows.push_back(row(engine, "fp16", batch, 0.9 * b, 0.604 * b));
    c.rows.push_back(row("Fast but wrong", "int8", batch, 0.5 * b, 0.3 * b));
    c.rows.back().agreement = {false, "relative error 0.4 exceeds 0.15", 0.4, 0.8, 3, 0.3, 0.4, 64};
  }
  Measurement& compared = c.rows[1].measurement;
  compared.share_of_device = 0.97;
  compared.against_device =
      AgainstDevice{{0.96, 0.97, 0.98}, {2500, 0.5, 1440, 1500, nan, 4}, {2600, 0.49, 1455, 1510, nan, 0}};
  c.rows.front().layers = LayerProfile{1,
                                       20,
                                       {{"conv1", "Convolution", "a_kernel", "Half", 0.02, 2e8, 1e6, nan},
                                        {"output copy", "", "", "", 0.001, nan, nan, nan}},
                                       {{"Half", 1e14}},
                                       1e12};
  set_floors(*c.rows.front().layers);
  ComparisonRow failed;
  failed.engine = engine;
  failed.precision = "fp32";
  failed.failure = "build: model.onnx: the GPU has 8 GB and the engine needs more\n  Use a smaller --batch.";
  c.rows.push_back(failed);
  set_speedups(c);
  return c;
}

}  // namespace ferry
