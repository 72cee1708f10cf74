// export_bench [CHECKPOINT]: seconds and peak memory of checkpoint -> ONNX file, one line a step. Without a checkpoint,
// a seeded ResNet-101 (its generation is not part of the figures).
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <optional>

#include "ferry/checkpoint.h"
#include "ferry/error.h"
#include "ferry/onnx.h"

namespace {

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double peak_mb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

void report(const char* step, double seconds) {
  fmt::print("{:<28}{:8.0f} ms   peak so far {:6.0f} MB\n", step, seconds * 1e3, peak_mb());
}

void measure(const char* checkpoint) {
  using namespace ferry;
  std::optional<ResNet> network;
  std::optional<OnnxModel> model;
  const std::string path =
      (std::filesystem::temp_directory_path() / fmt::format("export_bench_{}.onnx", getpid())).string();
  if (checkpoint != nullptr) {
    report("read the checkpoint", seconds_of([&] { network = load_resnet(Checkpoint::open(checkpoint)); }));
  } else {
    network = random_resnet(architecture_named("resnet101"), 1);
    fmt::print("{:<28}                peak so far {:6.0f} MB\n", "seeded resnet101", peak_mb());
  }
  report("make and check the model", seconds_of([&] { model = export_onnx(std::move(*network)); }));
  report("write it (hash, flush)", seconds_of([&] { model->save(path); }));
  report("load and check it", seconds_of([&] { model = OnnxModel::load(path); }));
  report("convert it to FP16", seconds_of([&] { convert_to_fp16(*model, true); }));
  std::filesystem::remove(path);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    measure(argc > 1 ? argv[1] : nullptr);
  } catch (const ferry::Error& e) {
    fmt::print(stderr, "{}\n", e.what());
    return 1;
  }
}
