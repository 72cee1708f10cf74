#include "int8_file.h"

#include <fmt/core.h>

#include <filesystem>

#include "ferry/engine_file.h"
#include "ferry/error.h"
#include "ferry/files.h"
#include "ferry/pipeline.h"
#include "ferry/quantize.h"
#include "pictures.h"
#include "preprocessing_options.h"
#include "progress.h"

namespace ferry::tool {
namespace {

constexpr int kRevision = 2;  // raise it with every change of what the quantiser writes

// Which pictures: their names, sizes and times.
std::string listing(const ImageSet& images) {
  std::string text;
  std::error_code error;
  for (const ImageItem& item : images.items) {
    const auto time = std::filesystem::last_write_time(item.path, error).time_since_epoch().count();
    text += fmt::format("{} {} {}\n", item.path, std::filesystem::file_size(item.path, error), time);
  }
  return text;
}

Quantized made(const std::string& onnx, const std::string& calibration, const ImageSet& images,
               const PictureFacts& facts, const Context& context) {
  QuantizeRequest request;
  request.calibrate.loader.preprocessing = PreprocessingFlags{}.settle(facts);
  request.log = context.log();
  Job job(context, fmt::format("calibrating INT8 with {}", calibration));
  request.calibrate.progress = job.progress();
  const OnnxModel model = OnnxModel::load(onnx);
  if (images.items.empty()) return quantize(model, read_calibration_file(calibration), request);
  return quantize(model, images, request);
}

}  // namespace

std::string int8_file(const std::string& onnx, const std::string& calibration, const PictureFacts& facts,
                      const Context& context) {
  if (calibration.empty())
    throw Error(Stage::kUsage, "--precision int8", "needs pictures: the ranges of INT8 are found by looking at some",
                "ferry quantize MODEL --calibration DIR -o model.int8.onnx makes a file that every verb takes; "
                "ferry compare does it on the way: --calibration DIR (a few hundred pictures of the kind it will see)");
  const bool pictures = !calibration.ends_with(".json");
  const ImageSet images = pictures ? find_images(calibration) : ImageSet{};
  const std::string key =
      sha256(fmt::format("{} {} {} {}\n{}", FERRY_VERSION, kRevision, remembered_sha256(onnx, Stage::kQuantize),
                         facts.preprocessing, pictures ? listing(images) : sha256_file(calibration, Stage::kQuantize)));
  const std::string path = fmt::format("{}/{}-int8.onnx", cache_directory(), key.substr(0, 16));
  if (std::filesystem::exists(path)) return path;  // written under another name and renamed: there means complete
  const Quantized quantized = made(onnx, calibration, images, facts, context);
  report_broken(quantized.calibration.ranges.broken, context);
  quantized.int8_model.save(path);
  return path;
}

}  // namespace ferry::tool
