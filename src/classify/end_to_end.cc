// The whole way from encoded pictures to labels as something that can be measured.
#include <fmt/format.h>

#include <chrono>
#include <limits>

#include "ferry/classifier.h"
#include "ferry/error.h"

namespace ferry {
namespace {

void classify_once(const Classifier& classifier, const std::vector<std::string>& encoded) {
  if (encoded.size() == 1) {
    classifier.classify_bytes(encoded.front());
    return;
  }
  const std::unique_ptr<PictureSource> pictures = pictures_in_memory(encoded);
  classifier.classify_all(*pictures, [](Classified&& result) {
    if (!result.error.empty()) throw Error(Stage::kRun, result.name, result.error);
    return true;
  });
}

}  // namespace

Competitor end_to_end(const Classifier& classifier, std::vector<std::string> encoded, const std::string& name,
                      const std::string& precision) {
  if (encoded.empty()) throw Error(Stage::kUsage, name, "there are no pictures to run");
  Competitor competitor;
  competitor.name = name;
  competitor.precision = precision;
  competitor.batch = static_cast<std::int64_t>(encoded.size());
  auto pictures = std::make_shared<const std::vector<std::string>>(std::move(encoded));
  competitor.run = [classifier, pictures](bool) {
    const auto begin = std::chrono::steady_clock::now();
    classify_once(classifier, *pictures);
    const double unknown = std::numeric_limits<double>::quiet_NaN();
    return RunRecord{std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count(),
                     {unknown, unknown, unknown, unknown}};
  };
  competitor.telemetry = [engine = classifier.engine()] { return engine.telemetry(); };
  return competitor;
}

}  // namespace ferry
