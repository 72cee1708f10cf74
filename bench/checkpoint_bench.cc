// Opening and loading a ResNet-101 checkpoint: 178 MB in float32, 89 MB in float16, as torch.save would write it.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <filesystem>
#include <string_view>

#include "base/files.h"
#include "ferry/checkpoint.h"
#include "ferry/resnet.h"
#include "unit/checkpoint/archives.h"

namespace {

using ferry::DType;

std::vector<std::int64_t> row_major(const ferry::Shape& shape) {
  std::vector<std::int64_t> strides(shape.size(), 1);
  for (std::size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

// Seeded ResNet-101 as a torch zip archive in a file that goes away with the program.
class CheckpointFile {
 public:
  explicit CheckpointFile(DType dtype)
      : path_((std::filesystem::temp_directory_path() / ("ferry-bench-" + std::to_string(::getpid()) + ".pth"))
                  .string()) {
    const ferry::ResNet net = ferry::random_resnet(ferry::architecture_named("resnet101"), 1);
    const char* type = dtype == DType::kFloat16 ? "HalfStorage" : "FloatStorage";
    ferry::Pickle pickle;
    pickle.op("}");
    std::vector<ferry::ZipItem> storages;
    for (const ferry::ExpectedTensor& tensor : ferry::expected_tensors(net.architecture)) {
      const ferry::Tensor values = ferry::convert(net.at(tensor.name).view(), dtype);
      const std::string key = std::to_string(storages.size());
      pickle.text(tensor.name).tensor(type, key, values.elements(), 0, tensor.shape, row_major(tensor.shape)).op("s");
      storages.push_back({key, {reinterpret_cast<const char*>(values.data()), values.size_bytes()}});
    }
    ferry::write_file(path_, ferry::torch_zip(pickle.done(), std::move(storages)), ferry::Stage::kReport);
  }
  ~CheckpointFile() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void open_file(benchmark::State& state, DType dtype) {
  const CheckpointFile file(dtype);
  for (auto _ : state) benchmark::DoNotOptimize(ferry::Checkpoint::open(file.path()).tensors().size());
}

void load_file(benchmark::State& state, DType dtype) {
  const CheckpointFile file(dtype);
  for (auto _ : state)
    benchmark::DoNotOptimize(ferry::load_resnet(ferry::Checkpoint::open(file.path())).weights.size());
}

void make_random(benchmark::State& state) {
  const ferry::ResNetArchitecture architecture = ferry::architecture_named("resnet101");
  for (auto _ : state) benchmark::DoNotOptimize(ferry::random_resnet(architecture, 1).weights.size());
}

BENCHMARK_CAPTURE(open_file, fp32_178MB, DType::kFloat32)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(load_file, fp32_178MB, DType::kFloat32)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(load_file, fp16_89MB, DType::kFloat16)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(make_random)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
