// Which other files an ONNX file takes its weights from.
#pragma once

#include <string>
#include <vector>

namespace ferry {

/// Locations as the model states them, each once, sorted; empty for a model that holds its weights itself. `bytes` is a
/// serialised ModelProto; what cannot be parsed has none (loading it will say what is wrong).
std::vector<std::string> external_files(const std::string& bytes);

}  // namespace ferry
