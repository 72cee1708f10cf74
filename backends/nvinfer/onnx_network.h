// An ONNX model as the SDK's network.
#pragma once

#include <memory>

#include "nvinfer/library.h"
#include "nvinfer/logger.h"
#include "nvinfer/proof.h"

namespace ferry::nvinfer {

/// The network and the parser that owns its weights.
struct OnnxNetwork {
  std::unique_ptr<nvinfer1::INetworkDefinition> network;
  std::unique_ptr<nvonnxparser::IParser> parser;
};

/// Throws Failure naming the node that the parser does not take.
OnnxNetwork parse_onnx(const Library& library, nvinfer1::IBuilder& builder, const Listener& listener, const void* onnx,
                       std::size_t size);

/// The types that the graph asks for: what an engine built from it has to show. A convolution between dequantised
/// tensors counts as Int8.
Proof count_network(const nvinfer1::INetworkDefinition& network);

}  // namespace ferry::nvinfer
