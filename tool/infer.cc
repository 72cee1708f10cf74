// ferry infer MODEL --input x.npy --output y.npy: one batch through one engine.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <limits>
#include <memory>
#include <numeric>

#include "cli.h"
#include "console.h"
#include "ferry/ferry.h"
#include "model.h"
#include "open_model.h"
#include "progress.h"
#include "text.h"

namespace ferry::tool {
namespace {

struct InferFlags {
  ModelOptions model;
  OpenFlags open;
  std::string input, output;
  std::optional<int> top;
};

struct Guess {
  std::int64_t index;
  float logit, probability;
};

// A single image may come without its batch dimension; floating-point types are converted to what the engine takes.
Tensor fitted(Tensor input, const Port& port) {
  if (port.dtype == DType::kUInt8 && input.dtype() != DType::kUInt8)
    throw Error(Stage::kRun, "input",
                fmt::format("the array is {}; this network takes pixels: uint8 [{}]", ferry::name_of(input.dtype()),
                            to_string(port.shape)),
                "Pixels are 0 to 255, not normalised: the network does that itself.");
  if (input.shape().size() + 1 == port.shape.size()) {
    Shape shape = input.shape();
    shape.insert(shape.begin(), 1);
    return convert(TensorView{input.dtype(), shape, input.data()}, port.dtype);
  }
  return input.dtype() == port.dtype ? std::move(input) : convert(input.view(), port.dtype);
}

std::vector<Guess> best(std::span<const float> logits, int count) {
  std::vector<std::int64_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto middle = order.begin() + std::min<std::ptrdiff_t>(count, static_cast<std::ptrdiff_t>(order.size()));
  std::partial_sort(order.begin(), middle, order.end(), [&](std::int64_t a, std::int64_t b) {
    return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
  });
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  std::vector<Guess> guesses;
  for (auto at = order.begin(); at != middle; ++at) {
    const float logit = logits[static_cast<std::size_t>(*at)];
    guesses.push_back({*at, logit, static_cast<float>(std::exp(logit - largest) / sum)});
  }
  return guesses;
}

std::vector<std::string> class_names(const Model& model) {
  std::error_code error;
  if (model.kind() != ModelKind::kPlan) return {};
  if (!is_plan_set(model.path()) && !std::filesystem::exists(model.path() + ".json", error)) return {};
  return describe_plan(model.path()).class_names;
}

std::string class_name(const std::vector<std::string>& names, std::int64_t index) {
  const auto at = static_cast<std::size_t>(index);
  return at < names.size() ? printable(names[at]) : "";
}

// The engine has chosen: what it found, up to `count`.
std::vector<Guess> chosen(const std::vector<Tensor>& outputs, std::size_t image, int count) {
  const auto k = static_cast<std::size_t>(outputs[0].shape().at(1));
  const auto* classes = reinterpret_cast<const std::int32_t*>(outputs[1].data()) + image * k;
  std::vector<Guess> guesses;
  for (std::size_t i = 0; i < std::min(k, static_cast<std::size_t>(count)); ++i)
    guesses.push_back({classes[i], std::numeric_limits<float>::quiet_NaN(), outputs[0].floats()[image * k + i]});
  return guesses;
}

// One table for all images, and the same as JSON.
Json show_best(const std::vector<Tensor>& outputs, int count, const std::vector<std::string>& names,
               const Context& context) {
  const bool top_k = outputs.size() == 2;
  const Tensor logits = convert(outputs[0].view(), DType::kFloat32);
  const auto images = static_cast<std::size_t>(logits.shape()[0]);
  const std::size_t classes = logits.floats().size() / images;
  Json json = Json::array();
  std::vector<std::vector<std::string>> rows = {{"image", "rank", "class", "probability", "logit", "name"}};
  for (std::size_t image = 0; image < images; ++image) {
    Json list = Json::array();
    for (const Guess& guess :
         top_k ? chosen(outputs, image, count) : best(logits.floats().subspan(image * classes, classes), count)) {
      const std::string name = class_name(names, guess.index);
      Json entry = {{"class", guess.index}, {"name", name}, {"probability", guess.probability}};
      entry["logit"] = top_k ? Json(nullptr) : Json(guess.logit);  // the engine keeps the scores to itself
      list.push_back(std::move(entry));
      rows.push_back({std::to_string(image), std::to_string(list.size()), std::to_string(guess.index),
                      fmt::format("{:.4f}", guess.probability), top_k ? "-" : fmt::format("{:.4f}", guess.logit),
                      name});
    }
    json.push_back(std::move(list));
  }
  context.print(table(rows, "rrrrrl"));
  return json;
}

void refuse_non_finite(const Tensor& output) {
  const Tensor values = convert(output.view(), DType::kFloat32);
  const auto floats = values.floats();
  if (!std::all_of(floats.begin(), floats.end(), [](float v) { return std::isfinite(v); }))
    throw Error(Stage::kRun, "output", "the network's answer holds NaN or infinity",
                "Check the input's range; an fp16 engine may overflow where fp32 does not.");
}

// x.npy gets the scores, or the probabilities; then the classes go to x.classes.npy.
void write_outputs(const std::string& path, const std::vector<Tensor>& outputs) {
  if (path.empty()) return;
  if (outputs.size() == 2) {
    std::filesystem::path classes(path);
    classes.replace_extension(".classes.npy");
    write_npy(classes.string(), outputs[1].view());
  }
  write_npy(path, outputs[0].view());
}

void refuse_other_outputs(const EngineInfo& info) {
  const std::vector<Port>& out = info.outputs;
  if (out.size() == 1 || (out.size() == 2 && out[0].dtype == DType::kFloat32 && out[1].dtype == DType::kInt32)) return;
  throw Error(Stage::kRun, info.backend_display_name,
              fmt::format("the engine has {} outputs; scores, or probabilities and classes, can be shown", out.size()));
}

// For --verbose: where the time went until there was an answer.
class Timeline {
 public:
  void lap(const char* what) {
    const auto now = Clock::now();
    text_ += fmt::format("{}{} {:.0f} ms", text_.empty() ? "" : ", ", what, milliseconds(last_, now));
    last_ = now;
  }
  std::string text() const {
    return fmt::format("first result {:.0f} ms after the program began: {}", milliseconds(kBegan, last_), text_);
  }

 private:
  using Clock = std::chrono::steady_clock;
  static double milliseconds(Clock::time_point from, Clock::time_point to) {
    return std::chrono::duration<double, std::milli>(to - from).count();
  }
  static const Clock::time_point kBegan;  // before main
  Clock::time_point last_ = kBegan;
  std::string text_;
};
const Timeline::Clock::time_point Timeline::kBegan = Timeline::Clock::now();

int infer(const InferFlags& options, const Context& context) {
  Timeline timeline;
  const Tensor read = read_npy(options.input);
  timeline.lap("reading the input");
  Model model(options.model, context);
  const OpenedModel opened = open_model(model, options.open, {std::max<std::int64_t>(1, read.shape()[0])}, context);
  timeline.lap("opening");
  const EngineInfo& info = opened.engine.info();
  const Tensor input = fitted(read.clone(), info.inputs.at(0));
  RunTimes times{};
  refuse_other_outputs(info);
  Session session = opened.engine.new_session();
  timeline.lap("session");
  const std::vector<Tensor> outputs = session.run(std::vector<TensorView>{input.view()}, &times);
  timeline.lap("running");
  if (const Log log = context.log()) log(2, timeline.text());
  const Tensor& output = outputs[0];
  refuse_non_finite(output);
  write_outputs(options.output, outputs);
  const std::string title =
      fmt::format("{} in {} on {}: {} -> {}\n", model.name(), opened.precision, engine_at(info, input.shape()[0]),
                  to_string(input.shape()), to_string(output.shape()));
  context.print((model.random() ? "RANDOM WEIGHTS (" + model.origin() + "): the answers mean nothing\n" : "") + title);
  Json json = {{"model", options.model.model},     {"engine", info.backend},       {"precision", opened.precision},
               {"random_weights", model.random()}, {"input_shape", input.shape()}, {"output_shape", output.shape()},
               {"output", options.output}};
  if (options.top || options.output.empty())
    json["top"] = show_best(outputs, options.top.value_or(5), class_names(model), context);
  context.emit(json);
  return kGood;
}

}  // namespace

void add_infer(Cli& cli) {
  auto options = std::make_shared<InferFlags>();
  CLI::App* verb = cli.add_verb("infer", "Run a batch (.npy) through a plan, an ONNX file or a checkpoint",
                                [options](const Context& context) { return infer(*options, context); });
  add_model_options(verb, options->model, "plan, ONNX file, checkpoint, or the name of a network");
  verb->add_option("-i,--input", options->input, "The batch: .npy, N x 3 x 224 x 224 (or one image without N)")
      ->type_name("FILE")
      ->required();
  verb->add_option("-o,--output", options->output, "Where the outputs go (.npy; of a top-k also .classes.npy)")
      ->type_name("FILE");
  verb->add_option("--top", options->top, "Show the K best classes (default without --output: 5)")
      ->type_name("K")
      ->check(CLI::Range(1, 1000));
  options->open.add_to(verb);
}

}  // namespace ferry::tool
