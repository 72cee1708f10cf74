#include "nvinfer/onnx_network.h"

#include <map>

#include "nvinfer/translate.h"

namespace ferry::nvinfer {
namespace {

std::string or_empty(const char* text) { return text == nullptr ? std::string() : text; }

Failure parser_failure(const Library& library, const nvonnxparser::IParser& parser, const Listener& listener) {
  if (parser.getNbErrors() == 0)
    return translate({library.sdk_text(), "parse the ONNX model", listener.problems(), "", ""});
  const nvonnxparser::IParserError* error = parser.getError(0);
  const std::string node = or_empty(error->nodeName()), op = or_empty(error->nodeOperator());
  std::string subject = node;
  if (!op.empty()) subject += (node.empty() ? "" : " ") + ("(" + op + ")");
  return {subject, library.sdk_text() + " cannot parse the ONNX model: " + or_empty(error->desc()),
          "check the file with 'ferry inspect'; a model made for another opset can be exported again with opset 17"};
}

using Producers = std::map<const nvinfer1::ITensor*, const nvinfer1::ILayer*>;

// The type that a convolution or matrix product computes in, by its first input.
std::string compute_type(const nvinfer1::ILayer& layer, const Producers& producers) {
  const nvinfer1::ITensor* input = layer.getInput(0);
  if (input == nullptr) return "unknown";
  const auto producer = producers.find(input);
  if (producer != producers.end() && producer->second->getType() == nvinfer1::LayerType::kDEQUANTIZE) {
    const nvinfer1::ITensor* quantised = producer->second->getInput(0);
    if (quantised != nullptr) return sdk::type_word(quantised->getType());
  }
  return sdk::type_word(input->getType());
}

bool has_weights(nvinfer1::LayerType type) {
  return type == nvinfer1::LayerType::kCONVOLUTION || type == nvinfer1::LayerType::kDECONVOLUTION ||
         type == nvinfer1::LayerType::kMATRIX_MULTIPLY;
}

}  // namespace

OnnxNetwork parse_onnx(const Library& library, nvinfer1::IBuilder& builder, const Listener& listener, const void* onnx,
                       std::size_t size) {
  OnnxNetwork result;
  result.network.reset(builder.createNetworkV2(sdk::network_flags()));
  if (result.network != nullptr) result.parser.reset(library.make_parser(*result.network));
  if (result.parser == nullptr)
    throw translate({library.sdk_text(), "create its ONNX parser", listener.problems(), "", ""});
  if (!result.parser->parse(onnx, size)) throw parser_failure(library, *result.parser, listener);
  if (result.network->getNbInputs() == 0 || result.network->getNbOutputs() == 0) {
    throw Failure("onnx", "the ONNX model has no inputs or no outputs", "export it again (ferry export)");
  }
  return result;
}

Proof count_network(const nvinfer1::INetworkDefinition& network) {
  Producers producers;
  for (int32_t i = 0; i < network.getNbLayers(); ++i) {
    const nvinfer1::ILayer* layer = network.getLayer(i);
    for (int32_t k = 0; k < layer->getNbOutputs(); ++k) producers[layer->getOutput(k)] = layer;
  }
  Proof proof;
  for (int32_t i = 0; i < network.getNbLayers(); ++i) {
    const nvinfer1::ILayer* layer = network.getLayer(i);
    if (has_weights(layer->getType())) proof.count(compute_type(*layer, producers));
  }
  return proof;
}

}  // namespace ferry::nvinfer
