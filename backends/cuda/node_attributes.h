// Attributes of ONNX nodes, for a reader that takes few kinds of them. All throw nvinfer::Failure (FERRY_UNSUPPORTED)
// naming the node.
#pragma once

#include <cstdint>
#include <string>

#include "cuda/onnx_graph.h"

namespace ferry::latency {

[[noreturn]] void refuse(const std::string& subject, const std::string& why);

/// `value`, which must be from `low` to `high`.
int limited(const Node& node, std::int64_t value, std::int64_t low, std::int64_t high, const char* what);

/// Both numbers of a list attribute where they are the same, `otherwise` where it is absent.
std::int64_t square(const Node& node, const char* name, std::int64_t otherwise);

std::int64_t number(const Node& node, const char* name, std::int64_t otherwise);
float real(const Node& node, const char* name, float otherwise);

}  // namespace ferry::latency
