#include "runners.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <stdexcept>

#include "ferry/backend.h"
#include "ferry/error.h"

namespace ferry::test {
namespace {

namespace fs = std::filesystem;

bool imports(const std::string& python, const std::string& modules) {
  return std::system((python + " -c 'import " + modules + "' >/dev/null 2>&1").c_str()) == 0;
}

void run_python(const TemporaryFolder& folder, const OnnxModel& model, const Tensor& input,
                const std::vector<std::int64_t>& batches) {
  model.save(folder / "model.onnx");
  write_npy(folder / "input.npy", input.view());
  if (!run_command(fmt::format("{} -B {}/tests/golden/run_onnx.py {} {}", FERRY_TEST_PYTHON, FERRY_SOURCE_DIR,
                               folder.path(), fmt::join(batches, " "))))
    throw std::runtime_error("ONNX Runtime does not run the model");
}

Tensor as_float(Tensor tensor) {
  return tensor.dtype() == DType::kFloat32 ? std::move(tensor) : convert(tensor.view(), DType::kFloat32);
}

}  // namespace

TemporaryFolder::TemporaryFolder() {
  std::string path = (fs::temp_directory_path() / "ferry_golden_XXXXXX").string();
  if (mkdtemp(path.data()) == nullptr) throw std::runtime_error("cannot make a temporary folder");
  path_ = path;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string missing_onnxruntime() {
  static const bool there = imports(FERRY_TEST_PYTHON, "onnx, onnxruntime, numpy");
  return there ? "" : FERRY_TEST_PYTHON " has no onnxruntime; run: setup/install --tests";
}

std::vector<Tensor> run_onnxruntime(const OnnxModel& model, const Tensor& input) {
  const TemporaryFolder folder;
  const std::int64_t all = input.shape().at(0);
  run_python(folder, model, input, {all});
  std::vector<Tensor> outputs;
  for (std::size_t i = 0; i < model.summary().outputs.size(); ++i)
    outputs.push_back(read_npy(folder / fmt::format("output_{}_{}.npy", all, i)));
  return outputs;
}

std::vector<Tensor> run_onnxruntime_batches(const OnnxModel& model, const Tensor& input,
                                            const std::vector<std::int64_t>& batches) {
  const TemporaryFolder folder;
  run_python(folder, model, input, batches);
  std::vector<Tensor> outputs;
  for (const std::int64_t batch : batches) outputs.push_back(read_npy(folder / fmt::format("output_{}_0.npy", batch)));
  return outputs;
}

std::optional<std::vector<Tensor>> run_openvino(const OnnxModel& model, const Tensor& input) {
  for (const BackendInfo& info : Backend::list()) {
    if (info.name != "openvino" || !info.usable) continue;
    Session session = Backend::load("openvino").open_onnx(model.serialize(), {}).new_session();
    std::vector<Tensor> outputs;
    for (Tensor& output : session.run(std::vector<TensorView>{input.view()}))
      outputs.push_back(as_float(std::move(output)));
    return outputs;
  }
  return {};
}

std::string torch_python() {
  static const std::string found = [] {
    const char* named = std::getenv("FERRY_TORCH_PYTHON");
    const std::string python = named != nullptr ? named : "/usr/bin/python3";
    return imports(python, "torch, torchvision") ? python : std::string();
  }();
  return found;
}

bool run_command(const std::string& command) {
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return false;
  std::string text;
  char buffer[4096];
  while (const std::size_t n = std::fread(buffer, 1, sizeof buffer, pipe)) text.append(buffer, n);
  const bool good = pclose(pipe) == 0;
  if (!good) std::fputs(text.c_str(), stderr);
  return good;
}

double relative_error(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape()) return std::numeric_limits<double>::quiet_NaN();
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < a.floats().size(); ++i) {
    const double x = a.floats()[i], y = b.floats()[i];
    difference += (x - y) * (x - y);
    size += y * y;
  }
  return std::sqrt(difference / size);
}

}  // namespace ferry::test
