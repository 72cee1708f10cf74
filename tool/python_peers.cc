#include "python_peers.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>

#include "ferry/error.h"
#include "text.h"

namespace ferry::tool {
namespace {

Json for_python(const ResNetArchitecture& net) {
  return {{"block", net.block == ResNetArchitecture::Block::kBasic ? "basic" : "bottleneck"},
          {"depths", net.depths},
          {"planes", net.planes},
          {"widths", net.widths},
          {"groups", net.groups},
          {"stem_channels", net.stem_channels},
          {"input_channels", net.input_channels},
          {"num_classes", net.num_classes}};
}

// safetensors: a JSON header with its size in front, then the bytes. Float32 under torchvision's names.
void write_safetensors(const ResNet& network, const std::string& path) {
  Json header = Json::object();
  std::size_t at = 0;
  for (const auto& [name, tensor] : network.weights) {
    header[name] = {{"dtype", "F32"}, {"shape", tensor.shape()}, {"data_offsets", {at, at + tensor.size_bytes()}}};
    at += tensor.size_bytes();
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t size = text.size();
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(&size), sizeof size);
  file << text;
  for (const auto& [name, tensor] : network.weights)
    file.write(reinterpret_cast<const char*>(tensor.data()), static_cast<std::streamsize>(tensor.size_bytes()));
  file.close();
  if (!file) throw Error(Stage::kCompare, path, "cannot write the weights for Python", "Free some room in TMPDIR.");
}

// torch reads its own formats itself; what ferry made or what is in another format goes over as safetensors.
bool torch_reads(const std::string& checkpoint) { return !checkpoint.empty() && !checkpoint.ends_with(".safetensors"); }

}  // namespace

std::string python_program() {
  if (const std::string chosen = environment("FERRY_PYTHON"); !chosen.empty()) return chosen;
  if (const std::string venv = environment("VIRTUAL_ENV"); !venv.empty()) {
    const std::string program = venv + "/bin/python3";
    if (std::filesystem::exists(program)) return program;
  }
  return "python3";
}

std::string python_folder() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  const auto installed = self.parent_path().parent_path() / "share/ferry/python";
  for (const std::filesystem::path& folder : {installed, std::filesystem::path(FERRY_SOURCE_PYTHON)})
    if (std::filesystem::exists(folder / "ferry_peers.py", error)) return folder.string();
  throw Error(Stage::kBackend, installed.string(), "the folder with ferry_peers.py is missing", "Install ferry again.");
}

PythonPeers::PythonPeers(const ResNet& network, const std::string& checkpoint, bool verbose)
    : worker_({python_program(), python_folder() + "/ferry_peers.py"}, verbose) {
  about_ = worker_.ask({{"do", "hello"}});
  Json load = {{"do", "load"}, {"architecture", for_python(network.architecture)}};
  if (torch_reads(checkpoint)) {
    load["checkpoint"] = std::filesystem::absolute(checkpoint).string();
  } else {
    load["safetensors"] = folder_.file("weights.safetensors");
    write_safetensors(network, load["safetensors"].get<std::string>());
  }
  worker_.ask(load);
}

std::string PythonPeers::version() const {
  return fmt::format("torch {}, Python {}", about_.value("torch", "?"), about_.value("python", "?"));
}

std::string PythonPeers::settings() const { return about_.value("settings", ""); }

bool PythonPeers::on_gpu() const { return about_.value("device", "cpu") == "gpu"; }

std::vector<PeerMode> PythonPeers::modes(const std::vector<std::string>& precisions) const {
  std::vector<PeerMode> modes;
  for (const Json& mode : about_.at("modes")) {
    const std::string precision = mode.at("precision");
    if (std::find(precisions.begin(), precisions.end(), precision) != precisions.end())
      modes.push_back({mode.at("mode"), mode.at("display_name"), precision});
  }
  return modes;
}

int PythonPeers::prepare(const PeerMode& mode, const TensorView& input) {
  const std::string path = folder_.file("input.npy");
  write_npy(path, input);
  const Json answer =
      worker_.ask({{"do", "prepare"}, {"mode", mode.mode}, {"precision", mode.precision}, {"input", path}});
  return answer.at("id").get<int>();
}

std::vector<RunRecord> PythonPeers::run(int id, bool resident, int count) {
  const Json answer = worker_.ask({{"do", "run"}, {"id", id}, {"resident", resident}, {"count", count}});
  constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
  std::vector<RunRecord> records;
  for (const Json& run : answer.at("runs")) {
    RunRecord record;
    record.wall_ms = run.at(0).get<double>();
    record.times = {kUnknown, kUnknown, kUnknown, kUnknown};
    if (const Json& compute = run.at(1); compute.is_number()) record.times.compute_ms = compute.get<double>();
    records.push_back(record);
  }
  if (records.empty()) throw Error(Stage::kRun, "python", "the PyTorch worker answered without a run");
  return records;
}

Tensor PythonPeers::output(int id) {
  const std::string path = folder_.file("output.npy");
  worker_.ask({{"do", "output"}, {"id", id}, {"path", path}});
  return read_npy(path);
}

void PythonPeers::drop(int id) { worker_.ask({{"do", "drop"}, {"id", id}}); }

}  // namespace ferry::tool
