#include "gpu/latency_plan.h"

#include <nlohmann/json.hpp>

namespace ferry::latency {
namespace {

int append(void* user, const void* data, std::size_t size) {
  static_cast<std::string*>(user)->append(static_cast<const char*>(data), size);
  return 0;
}

}  // namespace

std::string build_plan(const std::string& onnx, int min, int max) {
  std::string plan, report;
  const nlohmann::json options{{"profiles", {{{"min", min}, {"opt", min}, {"max", max}}}}};
  const std::string text = options.dump();
  ferry_build_args args{};
  args.struct_size = sizeof args;
  args.onnx = onnx.data();
  args.onnx_size = onnx.size();
  args.options_json = text.c_str();
  args.plan = {append, &plan};
  args.report_json = {append, &report};
  nvinfer::build(args);
  return plan;
}

std::shared_ptr<Engine> open_plan(const std::string& plan) {
  ferry_open_args args{};
  args.struct_size = sizeof args;
  args.plan = plan.data();
  args.plan_size = plan.size();
  args.options_json = "{}";
  return std::make_shared<Engine>(args);
}

}  // namespace ferry::latency
