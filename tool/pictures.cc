#include "pictures.h"

#include <fmt/core.h>

#include <filesystem>

#include "ferry/error.h"
#include "text.h"

namespace ferry::tool {

void PictureFlags::add_to(CLI::App* verb) {
  preprocessing.add_to(verb);
  verb->add_option("--batch", batch, "Pictures in one batch")
      ->type_name("N")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  verb->add_option("--decode-threads", threads, "Threads that decode (default: one a processor)")->type_name("N");
  verb->add_flag("--exif", exif, "Turn pictures as their EXIF orientation says (torchvision does not)");
}

LoaderOptions PictureFlags::loader(const PictureFacts& facts) const {
  LoaderOptions options;
  options.preprocessing = preprocessing.settle(facts);
  options.decode.exif_orientation = exif;
  options.batch = batch;
  options.threads = threads;
  return options;
}

ImageSet find_set(const std::string& folder, const std::string& labels) {
  const std::filesystem::path beside = std::filesystem::path(folder) / "labels.csv";
  std::error_code error;
  if (labels.empty() && std::filesystem::is_regular_file(beside, error)) return find_images(folder, beside.string());
  return find_images(folder, labels);
}

bool report_broken(const std::vector<BrokenImage>& broken, const Context& context) {
  constexpr std::size_t kShown = 10;
  for (std::size_t i = 0; i < broken.size() && i < kShown; ++i) context.warn(printable(broken[i].message));
  if (!broken.empty())
    context.warn(fmt::format("{} picture{} could not be read and {} left out", broken.size(),
                             broken.size() == 1 ? "" : "s", broken.size() == 1 ? "was" : "were"));
  return !broken.empty();
}

void refuse_top_k(const std::string& model) {
  throw Error(Stage::kUsage, model, "gives only its best classes (--top-k); what is asked for needs the scores of all",
              "Use the model without --top-k.");
}

}  // namespace ferry::tool
