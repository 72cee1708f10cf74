#include "cuda/node_attributes.h"

#include "nvinfer/failure.h"

namespace ferry::latency {

void refuse(const std::string& subject, const std::string& why) {
  throw nvinfer::Failure(subject, subject + ": " + why,
                         "this engine runs ResNets as ferry exports them; others: --backend tensorrt",
                         FERRY_UNSUPPORTED);
}

int limited(const Node& node, std::int64_t value, std::int64_t low, std::int64_t high, const char* what) {
  if (value < low || value > high)
    refuse(node.label(), std::string(what) + " is " + std::to_string(value) + ", and must be from " +
                             std::to_string(low) + " to " + std::to_string(high));
  return static_cast<int>(value);
}

std::int64_t square(const Node& node, const char* name, std::int64_t otherwise) {
  const auto found = node.attributes.find(name);
  if (found == node.attributes.end() || found->second.ints.empty()) return otherwise;
  const auto& values = found->second.ints;
  for (const std::int64_t value : values)
    if (value != values.front()) refuse(node.label(), std::string(name) + " differ between directions");
  return values.front();
}

std::int64_t number(const Node& node, const char* name, std::int64_t otherwise) {
  const auto found = node.attributes.find(name);
  return found == node.attributes.end() ? otherwise : found->second.i;
}

float real(const Node& node, const char* name, float otherwise) {
  const auto found = node.attributes.find(name);
  return found == node.attributes.end() ? otherwise : found->second.f;
}

}  // namespace ferry::latency
