#include "nvinfer/inspector.h"

#include <memory>

namespace ferry::nvinfer {

std::string inspector_json(const nvinfer1::ICudaEngine& engine) {
  const std::unique_ptr<nvinfer1::IEngineInspector> inspector(engine.createEngineInspector());
  if (inspector == nullptr) return {};
  const char* text = inspector->getEngineInformation(nvinfer1::LayerInformationFormat::kJSON);
  return text == nullptr ? std::string() : text;
}

}  // namespace ferry::nvinfer
