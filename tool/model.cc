#include "model.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <fstream>

#include "ferry/checkpoint.h"
#include "ferry/engine_file.h"
#include "ferry/error.h"
#include "ferry/fetch.h"
#include "ferry/pipeline.h"
#include "ferry/plan_set.h"
#include "fetch.h"
#include "int8_file.h"
#include "preprocessing_options.h"
#include "progress.h"
#include "signals.h"
#include "text.h"

namespace ferry::tool {
namespace {

// By the first bytes, for a file whose name says nothing. What is none of them is left to the checkpoint reader, which
// says what is wrong with it.
ModelKind kind_by_content(const std::string& path) {
  char first = 0;
  std::ifstream(path, std::ios::binary).get(first);
  constexpr char kProtobufField1 = 0x08;  // ModelProto.ir_version comes first in every ONNX file
  return first == kProtobufField1 ? ModelKind::kOnnx : ModelKind::kCheckpoint;
}

// The form's JSON with what a file name bears.
std::string file_name_of(const GraphForm& form) {
  std::string name;
  for (const char c : to_json(form))
    if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == ',' || c == '-') name += c;
  return name;
}

std::uint64_t parse_seed(const std::string& text) {
  std::uint64_t seed = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), seed);
  if (failure != std::errc() || end != text.data() + text.size())
    throw Error(Stage::kUsage, "--random-weights", fmt::format("'{}' is not a seed", text),
                "Give a whole number: --random-weights=7");
  return seed;
}

}  // namespace

void add_model_options(CLI::App* verb, ModelOptions& options, const std::string& what) {
  verb->add_option("MODEL", options.model, what)->required();
  verb->add_option("--arch", options.arch, "Refuse a checkpoint of any other network (resnet50, ...)")
      ->type_name("NAME");
  verb->add_flag("--random-weights{1}", options.random,
                 "Seeded weights instead of trained ones (or =SEED); needs a name");
}

ModelKind kind_of(const std::string& model) {
  std::error_code error;
  if (std::filesystem::is_directory(model, error)) throw Error(Stage::kModel, model, "is a folder, not a model");
  if (!std::filesystem::exists(model, error)) {
    if (find_published(model) != nullptr) return ModelKind::kName;
    throw Error(Stage::kModel, model, "there is no such file, and no network of that name",
                fmt::format("Networks: {}.", fmt::join(architecture_names(), ", ")));
  }
  const std::string name = lower(model);
  if (ends_with_any(name, {".onnx"})) return ModelKind::kOnnx;
  if (ends_with_any(name, {".plan", ".engine", ".trt"})) return ModelKind::kPlan;
  if (ends_with_any(name, {".pth", ".pt", ".bin", ".ckpt", ".safetensors"})) return ModelKind::kCheckpoint;
  if (std::filesystem::exists(model + ".json", error) || is_plan_set(model)) return ModelKind::kPlan;
  return kind_by_content(model);
}

Model::Model(const ModelOptions& options, const Context& context)
    : context_(context),
      keep_batch_norm_(options.keep_batch_norm),
      form_(options.form),
      calibration_(options.calibration) {
  if (!options.arch.empty()) expected_ = architecture_named(options.arch);
  const ModelKind kind = kind_of(options.model);
  if (!options.random.empty()) {
    if (kind != ModelKind::kName)
      throw Error(Stage::kUsage, "--random-weights",
                  fmt::format("'{}' is a file with weights of its own", options.model),
                  "Name a network instead: ferry ... resnet101 --random-weights");
    seed_ = parse_seed(options.random);
    random_ = architecture_named(find_published(options.model)->network);
  } else if (kind == ModelKind::kName) {
    path_ = fetch_with_progress(options.model, context);
  } else {
    kind_ = kind;
    path_ = options.model;
  }
  if (expected_ && kind_ != ModelKind::kCheckpoint)
    throw Error(Stage::kUsage, "--arch", "is for checkpoints; " + options.model + " is none");
  if (kind_ == ModelKind::kPlan && !is_default(form_))
    throw Error(Stage::kUsage, path_, "is a plan: what goes in and comes out was decided when it was built",
                "Leave --input, --top-k and the like out, or name the checkpoint or the ONNX file.");
}

const ResNet& Model::network() {
  if (network_) return *network_;
  if (!has_network()) throw Error(Stage::kModel, path_, "holds no weights under torchvision's names");
  if (random_) {
    network_ = std::make_unique<ResNet>(random_resnet(*random_, seed_));
  } else {
    network_ = std::make_unique<ResNet>(load_resnet(Checkpoint::open(path_), expected_ ? &*expected_ : nullptr));
  }
  throw_if_interrupted();
  return *network_;
}

ResNet Model::take_network() {
  network();
  ResNet taken = std::move(*network_);
  network_.reset();
  return taken;
}

std::string Model::onnx(Precision precision) {
  std::string& path = onnx_[precision];
  if (!path.empty()) return path;
  if (kind_ == ModelKind::kPlan)
    throw Error(Stage::kUsage, path_, "is a plan already; this needs the checkpoint or the ONNX file it was made from",
                "To compare a plan with others: ferry compare MODEL --plan " + shell_quoted(path_));
  const bool quantises = precision == Precision::kInt8 && !holds_int8();
  if (quantises && !is_default(form_))
    throw Error(Stage::kUsage, to_string(form_), "an INT8 model is made of the plain form only",
                "Leave --input, --top-k and the other forms out.");
  if (quantises)
    path = int8_file(onnx(Precision::kFp32), calibration_, facts_of(*this), context_);
  else
    path = kind_ == ModelKind::kOnnx ? prepare_own_onnx(precision) : export_network(precision);
  throw_if_interrupted();
  return path;
}

bool Model::holds_int8() const {
  return kind_ == ModelKind::kOnnx && OnnxModel::load(path_).summary().precision == Precision::kInt8;
}

std::string Model::export_network(Precision precision) {
  const std::string identity = random_ ? identity_of_random(*random_, seed_) : identity_of_checkpoint(path_);
  ExportOptions options;
  options.precision = precision;
  options.keep_batch_norm = keep_batch_norm_;
  options.form = form_;
  return prepare_onnx(identity, options, [this]() -> const ResNet& { return network(); }).path;
}

GraphForm Model::form() const {
  if (kind_ == ModelKind::kPlan) return describe_plan(path_).form;
  if (kind_ != ModelKind::kOnnx) return form_;
  const GraphForm own = remembered_form(path_);
  if (is_default(own)) return form_;
  if (!is_default(form_))
    throw Error(Stage::kUsage, path_, "has a form already: " + to_string(own),
                "Leave --input, --top-k and the like out, or start from the checkpoint.");
  return own;
}

// A file that needs no change is used where it is; anything else is made once, in the cache, named by its content.
std::string Model::prepare_own_onnx(Precision precision) {
  std::string digest = remembered_sha256(path_, Stage::kOnnx).substr(0, 32);
  const GraphForm own = remembered_form(path_);
  if (!is_default(form()) && is_default(own)) digest += "-" + file_name_of(form_);
  const std::string cached =
      fmt::format("{}/own-{}-{}-{}.onnx", cache_directory(), FERRY_VERSION, ferry::name_of(precision), digest);
  if (std::filesystem::exists(cached)) return cached;
  OnnxModel model = OnnxModel::load(path_);
  const Precision has = model.summary().precision;
  if (has != precision && (has != Precision::kFp32 || precision != Precision::kFp16 || !is_default(own)))
    throw Error(
        Stage::kOnnx, path_,
        fmt::format("holds an {} model; {} cannot be made of it", ferry::name_of(has), ferry::name_of(precision)),
        fmt::format("Use --precision {}.", ferry::name_of(has)));
  if (!is_default(own)) return path_;  // ferry made it, complete with ports
  notes_ = prepare_foreign(model).changes;
  if (has == precision && notes_.empty() && is_default(form_)) return path_;
  if (has != precision) fold_batch_norm(model);
  fold_form(model, form_);
  if (has != precision) convert_to_fp16(model, true);
  attach_form(model, form_);
  model.check();
  model.save(cached);
  return cached;
}

std::string Model::name() {
  if (random_) return random_->name();
  return has_network() ? network().architecture.name() : stem();
}

std::string Model::origin() const {
  return random_ ? fmt::format("random weights, seed {}", seed_) : std::filesystem::path(path_).filename().string();
}

std::string Model::stem() const { return random_ ? random_->name() : std::filesystem::path(path_).stem().string(); }

}  // namespace ferry::tool
