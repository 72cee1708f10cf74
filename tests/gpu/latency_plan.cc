#include "gpu/latency_plan.h"

#include <nlohmann/json.hpp>

namespace ferry::latency {
namespace {

int append(void* user, const void* data, std::size_t size) {
  static_cast<std::string*>(user)->append(static_cast<const char*>(data), size);
  return 0;
}

}  // namespace

BuiltPlan build_with_report(const std::string& onnx, int min, int max, int level) {
  BuiltPlan built;
  const nlohmann::json options{{"profiles", {{{"min", min}, {"opt", min}, {"max", max}}}},
                               {"optimization_level", level}};
  const std::string text = options.dump();
  ferry_build_args args{};
  args.struct_size = sizeof args;
  args.onnx = onnx.data();
  args.onnx_size = onnx.size();
  args.options_json = text.c_str();
  args.plan = {append, &built.plan};
  args.report_json = {append, &built.report};
  nvinfer::build(args);
  return built;
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
