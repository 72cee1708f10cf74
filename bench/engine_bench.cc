// What stands between `ferry compare` and the first measured run when everything is in the cache: identity of the
// checkpoint, ONNX out of the cache, engine out of the cache, and the check of a plan before it is opened.
// ResNet-101 with seeded weights, in a cache of its own below the temporary folder; the first run fills it.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/files.h"
#include "engine/onnx_digest.h"
#include "ferry/ferry.h"

namespace ferry {
namespace {

std::string folder() {
  static const std::string path = (std::filesystem::temp_directory_path() / "ferry-bench").string();
  std::filesystem::create_directories(path);
  ::setenv("XDG_CACHE_HOME", path.c_str(), 1);
  return path;
}

const ResNet& network() {
  static const ResNet resnet101 = random_resnet(architecture_named("resnet101"), 7);
  return resnet101;
}

PreparedOnnx prepared() {
  folder();
  ExportOptions options;
  options.precision = Precision::kFp16;
  return prepare_onnx(identity_of_random(architecture_named("resnet101"), 7), options, network);
}

// A file as large as an FP16 plan of ResNet-101, with the sidecar that describes it.
std::string plan() {
  const std::string path = folder() + "/resnet101.plan";
  if (!std::filesystem::exists(sidecar_path(path))) {
    std::string bytes(89'600'000, '\0');
    for (std::size_t i = 0; i < bytes.size(); i += 64) bytes[i] = static_cast<char>(i / 64);
    write_file(path, bytes, Stage::kBuild);
    Sidecar sidecar;
    sidecar.plan_sha256 = sha256(bytes);
    write_file(sidecar_path(path), to_json(sidecar), Stage::kBuild);
  }
  return path;
}

void IdentityOfRememberedCheckpoint(benchmark::State& state) {
  const std::string path = plan();  // any large file that does not change
  for (auto _ : state) benchmark::DoNotOptimize(identity_of_checkpoint(path));
}
BENCHMARK(IdentityOfRememberedCheckpoint)->Unit(benchmark::kMillisecond);

void OnnxOutOfTheCache(benchmark::State& state) {
  prepared();
  for (auto _ : state) benchmark::DoNotOptimize(prepared());
}
BENCHMARK(OnnxOutOfTheCache)->Unit(benchmark::kMillisecond);

void ReadAndHashPlan(benchmark::State& state) {
  const std::string path = plan();
  for (auto _ : state) {
    const bool same = sha256(read_file(path, Stage::kOpen)) == read_sidecar(path).plan_sha256;
    if (!same) state.SkipWithError("the plan is not the sidecar's");
  }
}
BENCHMARK(ReadAndHashPlan)->Unit(benchmark::kMillisecond);

void DigestOfRememberedOnnx(benchmark::State& state) {
  const std::string path = prepared().path;
  for (auto _ : state) benchmark::DoNotOptimize(onnx_digest(path, Stage::kOpen));
}
BENCHMARK(DigestOfRememberedOnnx)->Unit(benchmark::kMillisecond);

// The engine of the first backend that can build here, for an RTX 4060; skipped where there is none.
void EngineOutOfTheCache(benchmark::State& state) {
  BuildRequest request;
  request.onnx_path = prepared().path;
  request.options.target = "8.9";
  try {
    build_engine(request);
  } catch (const Error& error) {
    state.SkipWithError(error.what());
    return;
  }
  for (auto _ : state)
    if (!build_engine(request).cache_hit) state.SkipWithError("not a hit");
}
BENCHMARK(EngineOutOfTheCache)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace ferry

BENCHMARK_MAIN();
