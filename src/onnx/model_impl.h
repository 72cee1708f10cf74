// What an OnnxModel is made of; for src/onnx and src/resnet/graph.cc only.
#pragma once

#include <onnx/onnx_pb.h>

#include <string>

#include "ferry/onnx.h"

namespace ferry {

inline constexpr int kOnnxIrVersion = 8;  // what ferry writes, and what every consumer of 2022 and later reads
inline constexpr int kOnnxOpset = 17;

struct OnnxModel::Impl {
  onnx::ModelProto proto;
  std::string name;  // file name, or where the model came from: stands in messages
};

/// Version of the default operator set; 0 if the model imports none.
std::int64_t opset_of(const onnx::ModelProto& model);

/// Checks as OnnxModel::check does.
void check_model(const onnx::ModelProto& model, const std::string& name);
/// The part of it that looks at nodes and weights one by one: afterwards types and shapes can be inferred.
void check_nodes(const onnx::ModelProto& model, const std::string& name);

/// Brings a freshly parsed model into the form that the rest of ferry works on: weights out of external files (beside
/// `folder`; empty: none may be read), element data in `raw_data`, old-style weights no longer listed as inputs.
void normalise(onnx::ModelProto& model, const std::string& name, const std::string& folder);

}  // namespace ferry
