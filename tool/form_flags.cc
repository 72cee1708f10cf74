#include "form_flags.h"

#include <fmt/core.h>

#include <charconv>

#include "cli.h"
#include "ferry/error.h"

namespace ferry::tool {
namespace {

std::vector<float> numbers(const std::string& option, const std::string& text) {
  std::vector<float> values;
  if (text.empty()) return values;
  for (const std::string& part : parse_list(option, text)) {
    float value = 0;
    const auto [end, failure] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (failure != std::errc() || end != part.data() + part.size())
      throw Error(Stage::kUsage, option, fmt::format("'{}' is not a number", part),
                  "Give one for each channel: " + option + " 0.485,0.456,0.406");
    values.push_back(value);
  }
  return values;
}

InputForm input_named(const std::string& name) {
  if (name == "float") return InputForm::kFloat;
  if (name == "uint8") return InputForm::kUint8Nhwc;
  return InputForm::kUint8Nchw;
}

}  // namespace

void FormFlags::add_to(CLI::App* verb) {
  const char* const group = "Form of the network";
  verb->add_option("--input", input, "float (normalised), uint8 (pixels N,H,W,C) or uint8-nchw")
      ->check(CLI::IsMember({"float", "uint8", "uint8-nchw"}))
      ->capture_default_str()
      ->type_name("FORM")
      ->group(group);
  verb->add_option("--mean", mean, "Of each channel, with pixels (default: ImageNet's)")
      ->type_name("LIST")
      ->group(group);
  verb->add_option("--std", std, "Standard deviation of each channel (default: ImageNet's)")
      ->type_name("LIST")
      ->group(group);
  verb->add_option("--top-k", top_k, "Out come the K best classes and their probabilities")
      ->type_name("K")
      ->check(CLI::Range(1, 1000))
      ->group(group);
  verb->add_option("--pad-channels", pad_channels, "First convolution with N input channels (4 or 8)")
      ->type_name("N")
      ->check(CLI::Range(2, 64))
      ->group(group);
  verb->add_flag("--conv-classifier", conv_classifier, "The classifier as a 1x1 convolution")->group(group);
}

GraphForm FormFlags::resolved() const {
  GraphForm form;
  form.input = input_named(input);
  form.mean = numbers("--mean", mean);
  form.std = numbers("--std", std);
  if (form.input == InputForm::kFloat && !(mean.empty() && std.empty()))
    throw Error(Stage::kUsage, "--mean and --std",
                "go with --input uint8: floats are normalised by whoever makes them");
  if (form.mean.size() != form.std.size())
    throw Error(Stage::kUsage, "--mean and --std",
                fmt::format("{} and {} values: give both, or none", form.mean.size(), form.std.size()));
  form.top_k = top_k.value_or(0);
  form.pad_channels = pad_channels.value_or(0);
  form.conv_classifier = conv_classifier;
  return form;
}

}  // namespace ferry::tool
