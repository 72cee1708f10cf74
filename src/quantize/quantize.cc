// The whole way from pictures to an INT8 model.
#include "ferry/quantize.h"

#include <algorithm>
#include <chrono>
#include <map>

#include "base/files.h"
#include "ferry/error.h"
#include "onnx/model_impl.h"
#include "quantize/parallel.h"

namespace ferry {
namespace {

constexpr std::int64_t kChannelImages = 64;  // enough to see which channels are large

// An engine with everything that will be quantised as its outputs. It is opened once: what equalisation does to a
// tensor is a division of its channels, and that is done here.
class Observer {
 public:
  Observer(const OnnxModel& model, const QuantizeRequest& request)
      : tensors_(tensors_to_calibrate(model)),
        input_(model.summary().inputs.at(0).name),
        threads_(threads_or_all(request.calibrate.loader.threads)),
        engine_(open(model, request)),
        session_(engine_.new_session()) {
    const std::vector<Port>& outputs = engine_.info().outputs;
    for (std::size_t i = 0; i < outputs.size(); ++i) position_[outputs[i].name] = i;
  }

  void equalised(const std::vector<EqualisedGroup>& groups) {
    for (const EqualisedGroup& group : groups)
      for (const std::string& tensor : group.tensors) {
        std::vector<float>& factors = factors_[tensor];
        for (const double factor : group.factors) factors.push_back(static_cast<float>(1 / factor));
      }
  }

  Calibration look(const ImageSet& images, const CalibrateOptions& options) {
    const auto run = [this](const TensorView& batch) { return tensors_of(batch); };
    Calibration calibration = gather(tensors_, run, images, options);
    calibration.engine = engine_.info().backend_display_name + " " + engine_.info().sdk_version;
    return calibration;
  }

 private:
  Engine open(const OnnxModel& model, const QuantizeRequest& request) const {
    std::vector<std::string> made;  // the model's own input is no output of any engine
    for (const std::string& tensor : tensors_)
      if (tensor != input_) made.push_back(tensor);
    return open_for_calibration(with_outputs(model, made), request.calibrate.loader.batch, request.backend,
                                request.calibrate.progress, request.log);
  }

  std::vector<Tensor> tensors_of(const TensorView& batch) {
    std::vector<Tensor> made = session_.run(std::vector<TensorView>{batch}), all;
    for (const std::string& tensor : tensors_)
      all.push_back(tensor == input_ ? Tensor::copy_of(batch) : std::move(made.at(position_.at(tensor))));
    for_each_in_parallel(tensors_.size(), threads_, [&](std::size_t i) {
      if (const auto factors = factors_.find(tensors_[i]); factors != factors_.end()) scale(all[i], factors->second);
    });
    return all;
  }

  static void scale(Tensor& tensor, const std::vector<float>& factors) {
    const std::span<float> values = tensor.floats();
    const auto images = static_cast<std::size_t>(tensor.shape()[0]);
    const std::size_t plane = values.size() / (images * factors.size());
    for (std::size_t p = 0; p < images * factors.size(); ++p)
      for (float& value : values.subspan(p * plane, plane)) value *= factors[p % factors.size()];
  }

  std::vector<std::string> tensors_;
  std::string input_;
  int threads_;
  Engine engine_;
  Session session_;
  std::map<std::string, std::size_t> position_;        // among the engine's outputs
  std::map<std::string, std::vector<float>> factors_;  // of equalised tensors: what each channel is multiplied by
};

/// What took how long; each stage ends where the next begins.
class Stages {
 public:
  void end(const std::string& stage) {
    const auto now = std::chrono::steady_clock::now();
    times_.push_back({stage, std::chrono::duration<double>(now - std::exchange(begun_, now)).count()});
  }
  std::vector<StageTime> take() { return std::move(times_); }

 private:
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
  std::vector<StageTime> times_;
};

Quantized finish(OnnxModel model, CalibrationFile file, std::vector<EqualisedGroup> equalised,
                 const QuantizeOptions& options, Stages& stages) {
  OnnxModel int8 = model.clone();
  QuantizeReport report = insert_qdq(int8, file.ranges, options);
  stages.end("inserting Q/DQ");
  return {std::move(model), std::move(int8), std::move(file), std::move(report), std::move(equalised), stages.take()};
}

}  // namespace

Quantized quantize(const OnnxModel& model, const ImageSet& images, const QuantizeRequest& request) {
  Stages stages;
  CalibrationFile file;
  file.model_sha256 = sha256(model.serialize());
  OnnxModel equal = model.clone();
  std::vector<EqualisedGroup> groups;
  Observer observer(model, request);
  stages.end("opening the engine");
  if (request.equalise) {
    CalibrateOptions few = request.calibrate;
    few.max_images = few.max_images > 0 ? std::min(few.max_images, kChannelImages) : kChannelImages;
    few.moments = false;  // those of all pictures follow
    file.channels = observer.look(images, few);
    for (auto& [name, statistics] : file.channels->tensors) statistics.bins.clear();  // only channels are used again
    stages.end("looking at channels");
    groups = equalise(equal, *file.channels);
    observer.equalised(groups);
    stages.end("equalising");
  }
  file.ranges = observer.look(images, request.calibrate);
  stages.end("looking at ranges");
  return finish(std::move(equal), std::move(file), std::move(groups), request.options, stages);
}

Quantized quantize(const OnnxModel& model, const CalibrationFile& file, const QuantizeRequest& request) {
  if (sha256(model.serialize()) != file.model_sha256)
    throw Error(Stage::kQuantize, model.impl().name, "the calibration file was made for another model",
                "Calibrate again with --calibration DIR.");
  OnnxModel equal = model.clone();
  std::vector<EqualisedGroup> groups;
  Stages stages;
  if (file.channels) {
    groups = equalise(equal, *file.channels);
    stages.end("equalising");
  }
  return finish(std::move(equal), file, std::move(groups), request.options, stages);
}

}  // namespace ferry
