#include "openvino/engine.h"

#include <istream>
#include <map>
#include <openvino/frontend/manager.hpp>
#include <openvino/op/constant.hpp>
#include <sstream>
#include <streambuf>

#include "module/cpu.h"
#include "openvino/signs.h"

namespace ferry::openvino {
namespace {

using module::Failure;
using nlohmann::json;

/// Reads memory that somebody else owns: a model of 178 MB is not copied into a stream first.
class MemoryBuffer : public std::streambuf {
 public:
  MemoryBuffer(const void* data, std::size_t size) {
    char* begin = const_cast<char*>(static_cast<const char*>(data));
    setg(begin, begin, begin + size);
  }

 protected:
  pos_type seekoff(off_type offset, std::ios_base::seekdir from, std::ios_base::openmode) override {
    const off_type base = from == std::ios_base::beg   ? 0
                          : from == std::ios_base::cur ? gptr() - eback()
                                                       : egptr() - eback();
    if (base + offset < 0 || base + offset > egptr() - eback()) return pos_type(off_type(-1));
    setg(eback(), eback() + base + offset, egptr());
    return pos_type(base + offset);
  }
  pos_type seekpos(pos_type position, std::ios_base::openmode mode) override {
    return seekoff(off_type(position), std::ios_base::beg, mode);
  }
};

/// One core and one front end for the process: making them takes tens of milliseconds. Never destroyed, because
/// OpenVINO's own statics may go first.
ov::Core& core() {
  static ov::Core* instance = new ov::Core();
  return *instance;
}

std::shared_ptr<ov::Model> read(const void* onnx, std::size_t size) {
  static auto* manager = new ov::frontend::FrontEndManager();
  const ov::frontend::FrontEnd::Ptr front_end = manager->load_by_framework("onnx");
  if (!front_end)
    throw Failure("", "OpenVINO's ONNX reader is not installed beside it", "Install the openvino package again.");
  MemoryBuffer buffer(onnx, size);
  std::istream stream(&buffer);
  return front_end->convert(front_end->load(&stream));
}

/// FP32 graphs run in FP32 even where the CPU would rather take bfloat16; FP16 graphs may use FP16 where the CPU has
/// it.
ov::element::Type precision_for(const ov::Model& model, ov::Core& on) {
  for (const auto& node : model.get_ops()) {
    const bool weights = ov::is_type<ov::op::v0::Constant>(node) && ov::shape_size(node->get_output_shape(0)) > 1;
    if (!weights || node->get_output_element_type(0) != ov::element::f16) continue;
    const auto can = on.get_property("CPU", ov::device::capabilities);
    const bool fp16 = std::find(can.begin(), can.end(), ov::device::capability::FP16) != can.end();
    return fp16 ? ov::element::f16 : ov::element::f32;
  }
  return ov::element::f32;
}

std::string type_name(const std::string& precision) {
  static const std::map<std::string, std::string> names{
      {"f32", "Float"}, {"f16", "Half"}, {"bf16", "BFloat16"}, {"i8", "Int8"}, {"u8", "Int8"}};
  const auto found = names.find(precision);
  return found == names.end() ? precision : found->second;
}

std::string info_of(const ov::Node& node, const char* key) {
  const auto found = node.get_rt_info().find(key);
  return found == node.get_rt_info().end() ? std::string() : found->second.as<std::string>();
}

/// In which type each weighted layer really runs, from the graph that the CPU executes.
json precision_proof(const ov::CompiledModel& model) {
  int layers = 0;
  std::map<std::string, int> by_type;
  for (const auto& node : model.get_runtime_model()->get_ops()) {
    const std::string kind = info_of(*node, "layerType");
    if (kind != "Convolution" && kind != "GroupConvolution" && kind != "FullyConnected" && kind != "MatMul") continue;
    ++layers;
    ++by_type[type_name(info_of(*node, "runtimePrecision"))];
  }
  return {{"layers", layers}, {"by_type", by_type}};
}

json port_json(const ov::Output<const ov::Node>& port) {
  json shape = json::array();
  for (const ov::Dimension& d : port.get_partial_shape())
    shape.push_back(d.is_static() ? json(d.get_length()) : json(-1));
  return {{"name", port.get_any_name()}, {"dtype", dtype_of(port.get_element_type())}, {"shape", shape}};
}

}  // namespace

std::string clean_message(const std::string& what) {
  std::istringstream lines(what);
  std::string kept;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line.rfind("Exception from ", 0) == 0) continue;
    if (const std::size_t end = line.find("' failed at "); line.rfind("Check '", 0) == 0 && end != std::string::npos)
      continue;
    kept += (kept.empty() ? "" : " ") + line;
  }
  return kept.empty() ? what : kept;
}

std::string version() {
  const std::string full = ov::get_openvino_version().buildNumber;
  return full.substr(0, full.find('-'));
}

std::string compiled_against() {
  return std::to_string(OPENVINO_VERSION_MAJOR) + "." + std::to_string(OPENVINO_VERSION_MINOR) + "." +
         std::to_string(OPENVINO_VERSION_PATCH);
}

std::int32_t dtype_of(const ov::element::Type& type) {
  static const std::map<std::string, std::int32_t> numbers{
      {"f32", 1}, {"u8", 2}, {"i8", 3}, {"i32", 6}, {"i64", 7}, {"boolean", 9}, {"f16", 10}, {"f64", 11}, {"bf16", 16}};
  const auto found = numbers.find(type.to_string());
  if (found == numbers.end()) throw Failure("", "an input or output has the type " + type.to_string());
  return found->second;
}

ov::CompiledModel compile(const void* onnx, std::size_t size, int threads, const ferry_log& log) {
  try {
    const std::shared_ptr<ov::Model> model = read(onnx, size);
    if (const int unsigned_now = drop_signs(model); unsigned_now > 0)
      module::log(log, 3,
                  std::to_string(unsigned_now) + " activations that cannot be negative are quantised without a sign");
    const ov::element::Type precision = precision_for(*model, core());
    ov::AnyMap settings{ov::hint::performance_mode(ov::hint::PerformanceMode::LATENCY),
                        ov::hint::inference_precision(precision)};
    if (threads > 0) settings.insert(ov::inference_num_threads(threads));
    ov::CompiledModel compiled = core().compile_model(model, "CPU", settings);
    module::log(log, 3, "compiled for the CPU with inference precision " + precision.to_string());
    return compiled;
  } catch (const ov::Exception& e) {
    throw Failure("", clean_message(e.what()));
  }
}

json describe_engine(const ov::CompiledModel& model) {
  json io{{"inputs", json::array()}, {"outputs", json::array()}, {"profiles", json::array()}, {"max_batch", nullptr}};
  for (const auto& port : model.inputs()) io["inputs"].push_back(port_json(port));
  for (const auto& port : model.outputs()) io["outputs"].push_back(port_json(port));
  // A batch that is fixed in the model is the only one that it takes.
  if (const json& shape = io["inputs"].at(0)["shape"]; !shape.empty() && shape[0] != -1) {
    io["profiles"].push_back({{"min", shape[0]}, {"opt", shape[0]}, {"max", shape[0]}});
    io["max_batch"] = shape[0];
  }
  io["device"] = {{"kind", "cpu"}, {"name", module::cpu_name()}};
  io["sdk_version"] = version();
  io["device_memory_bytes"] = 0;
  io["resident"] = false;
  io["precision_proof"] = precision_proof(model);
  return io;
}

}  // namespace ferry::openvino
