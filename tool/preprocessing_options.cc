#include "preprocessing_options.h"

#include <fmt/core.h>

#include <charconv>

#include "ferry/error.h"

namespace ferry::tool {
namespace {

std::array<float, 3> three_floats(const std::string& option, const std::string& text) {
  const std::vector<std::string> parts = parse_list(option, text);
  std::array<float, 3> values{};
  bool good = parts.size() == 3;
  for (std::size_t i = 0; good && i < 3; ++i) {
    const auto [end, failure] = std::from_chars(parts[i].data(), parts[i].data() + parts[i].size(), values[i]);
    good = failure == std::errc() && end == parts[i].data() + parts[i].size();
  }
  if (!good)
    throw Error(Stage::kUsage, option, fmt::format("'{}' is not three numbers", text),
                "For red, green and blue: " + option + " 0.485,0.456,0.406");
  return values;
}

}  // namespace

void PreprocessingFlags::add_to(CLI::App* verb) {
  verb->add_option("--preset", preset, "imagenet-v1 or imagenet-v2 (default: what the model says, else v1)")
      ->type_name("NAME");
  verb->add_option("--resize", resize, "Shorter side before the crop")->type_name("N")->check(CLI::Range(1, 16384));
  verb->add_option("--crop", crop, "Side of the centre crop")->type_name("N")->check(CLI::Range(1, 16384));
  verb->add_option("--mean", mean, "Of red, green, blue in 0 to 1: 0.485,0.456,0.406")->type_name("R,G,B");
  verb->add_option("--std", std, "The same for the deviation: 0.229,0.224,0.225")->type_name("R,G,B");
}

Preprocessing PreprocessingFlags::settle(const PictureFacts& facts) const {
  Preprocessing result;
  if (!preset.empty())
    result = preprocessing_named(preset);
  else if (!facts.preprocessing.empty())
    result = preprocessing_named(facts.preprocessing);
  const Preprocessing named = result;
  if (resize) result.resize = *resize;
  if (crop) result.crop = *crop;
  if (!mean.empty()) result.mean = three_floats("--mean", mean);
  if (!std.empty()) result.std = three_floats("--std", std);
  if (!(result == named)) result.name = "custom";
  return result;
}

PictureFacts facts_of(const Model& model) { return model.random() ? PictureFacts{} : picture_facts(model.path()); }

}  // namespace ferry::tool
