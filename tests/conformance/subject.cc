#include "conformance/subject.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "ferry/files.h"

namespace ferry::conformance {
namespace {

/// Where a plan is kept for the other cases, each of which may be a process of its own. The name has everything that
/// shapes the plan, so nobody has to delete it.
std::filesystem::path kept_plan(const BackendInfo& info, const std::string& precision) {
  std::error_code ignored;
  const auto changed = std::filesystem::last_write_time(info.module_path, ignored).time_since_epoch().count();
  std::string what = info.name + '|' + info.version + '|' + info.library + '|' + std::to_string(changed) + '|';
  for (const Device& device : info.devices) what += device.name + ' ' + device.driver + '|';
  return std::filesystem::temp_directory_path() /
         ("ferry-conformance-" + info.name + "-" + precision + "-" + sha256(what + onnx(precision)).substr(0, 16));
}

/// With as little effort as the module knows: these checks ask whether an engine is right, not whether it is fast.
std::string build(const Backend& backend, const std::string& precision) {
  BuildOptions options;
  options.profiles = {{1, 4, kMaxBatch}};
  options.optimization_level = 0;
  options.timing_runs = 1;
  try {
    return backend.build(onnx(precision), options, "", {}, {}).plan;
  } catch (const Error& error) {
    options.optimization_level.reset();
    options.timing_runs.reset();
    return backend.build(onnx(precision), options, "", {}, {}).plan;  // it has no levels
  }
}

std::string built_plan(const Backend& backend, const std::string& precision) {
  const std::filesystem::path kept = kept_plan(backend.info(), precision);
  std::ifstream file(kept, std::ios::binary);
  std::string plan{std::istreambuf_iterator<char>(file), {}};
  if (!plan.empty()) return plan;
  plan = build(backend, precision);
  write_file(kept.string(), plan, Stage::kBuild);
  return plan;
}

/// Opens what the backend opens; builds a plan first where it has engine files.
void open(Subject& subject, const std::string& precision) {
  const Backend& backend = *subject.backend;
  const BackendInfo& info = backend.info();
  OpenOptions options;
  options.precision = precision;
  options.height = options.width = 64;
  if (info.builds) {
    subject.bytes = built_plan(backend, precision);
    subject.engine = backend.open_plan(subject.bytes, options);
  } else if (info.reference) {
    subject.engine = backend.open_weights(network(), options);
  } else {
    subject.bytes = onnx(precision);
    subject.engine = backend.open_onnx(subject.bytes, options);
  }
}

std::string why_not(const BackendInfo& info, const std::string& precision) {
  if (!info.usable) return info.reason + (info.remedy.empty() ? "" : " (" + info.remedy + ")");
  const bool has = std::find(info.precisions.begin(), info.precisions.end(), precision) != info.precisions.end();
  if (!has) return info.display_name + " has no " + precision;
  const bool on_gpu =
      std::any_of(info.devices.begin(), info.devices.end(), [](const Device& d) { return d.kind == "gpu"; });
  if (info.reference && precision == "fp16" && !on_gpu) return info.display_name + " runs fp16 on a GPU only";
  return {};
}

Subject make(const std::string& name, const std::string& precision) {
  Subject subject;
  try {
    subject.backend = Backend::load(name);
  } catch (const Error& e) {
    subject.skipped = e.what();
    return subject;
  }
  subject.skipped = why_not(subject.backend->info(), precision);
  if (subject.skipped.empty()) open(subject, precision);
  return subject;
}

std::optional<Referee> make_referee() {
  OpenOptions options;
  options.prefer_cpu = true;
  options.height = options.width = 64;
  for (const BackendInfo& info : Backend::list())
    if (info.usable && info.reference)
      return Referee{info.display_name, Backend::load(info.name).open_weights(network(), options)};
  for (const BackendInfo& info : Backend::list())
    if (info.usable && info.kind == "cpu" && !info.builds)
      return Referee{info.display_name, Backend::load(info.name).open_onnx(onnx("fp32"), options)};
  return std::nullopt;
}

}  // namespace

const ResNet& network() {
  static const ResNet* net = [] {
    ResNetArchitecture a;
    a.depths = {1, 2, 1, 1};
    a.planes = a.widths = {16, 16, 32, 32};
    a.stem_channels = 16;
    a.num_classes = 24;
    return new ResNet(random_resnet(a, 20261124));
  }();
  return *net;
}

const std::string& onnx(const std::string& precision) {
  static std::map<std::string, std::string> models;
  std::string& model = models[precision];
  if (model.empty()) {
    ExportOptions options;
    options.precision = precision_named(precision);
    options.height = options.width = 64;
    model = export_onnx(network(), options).serialize();
  }
  return model;
}

Tensor input(std::int64_t batch) {
  const Tensor all = Tensor::random_normal({kMaxBatch + 1, 3, 64, 64}, 5);
  return Tensor::copy_of(TensorView{DType::kFloat32, {batch, 3, 64, 64}, all.data()});
}

const Subject& subject(const std::string& backend, const std::string& precision) {
  static std::map<std::string, Subject> subjects;
  const std::string key = backend + " " + precision;
  const auto found = subjects.find(key);
  return found != subjects.end() ? found->second : subjects.emplace(key, make(backend, precision)).first->second;
}

const std::optional<Referee>& referee() {
  static const std::optional<Referee> instance = make_referee();
  return instance;
}

std::vector<std::string> backend_names() {
  std::vector<std::string> names{"fake", "openvino", "libtorch", "tensorrt_rtx", "tensorrt", "cuda"};
  for (const BackendInfo& info : Backend::list())
    if (std::find(names.begin(), names.end(), info.name) == names.end()) names.push_back(info.name);
  return names;
}

}  // namespace ferry::conformance
