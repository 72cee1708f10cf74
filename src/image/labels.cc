#include <algorithm>
#include <cmath>
#include <sstream>

#include "base/files.h"
#include "ferry/error.h"
#include "ferry/image.h"

namespace ferry {

std::vector<std::string> read_class_names(const std::string& path) {
  std::istringstream text(read_file(path, Stage::kImage));
  std::vector<std::string> names;
  for (std::string line; std::getline(text, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    names.push_back(line);
  }
  while (!names.empty() && names.back().empty()) names.pop_back();
  if (names.empty()) throw Error(Stage::kImage, path, "no class names", "Write one name a line, class 0 first.");
  return names;
}

std::vector<ClassScore> top_k(std::span<const float> logits, int k, bool softmax) {
  if (logits.empty()) throw Error(Stage::kRun, "output", "there are no scores");
  const auto count = std::min(logits.size(), static_cast<std::size_t>(std::max(k, 0)));
  // The best so far, best first: few ever enter, so one pass is cheaper than sorting. An equal score of a later class
  // does not enter, which keeps the lower index first.
  std::vector<ClassScore> best;
  best.reserve(count + 1);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const float score = logits[i];
    if (std::isnan(score)) throw Error(Stage::kRun, "output", "the scores hold a NaN");
    if (best.size() == count && (count == 0 || !(score > best.back().score))) continue;
    const auto place =
        std::upper_bound(best.begin(), best.end(), score, [](float s, const ClassScore& c) { return s > c.score; });
    best.insert(place, {static_cast<int>(i), score});
    if (best.size() > count) best.pop_back();
  }
  if (!softmax || best.empty()) return best;
  const double largest = best.front().score;
  if (!std::isfinite(largest)) throw Error(Stage::kRun, "output", "the scores hold an infinity");
  double sum = 0;
  for (const float x : logits) sum += std::exp(x - largest);
  for (ClassScore& score : best) score.score = static_cast<float>(std::exp(score.score - largest) / sum);
  return best;
}

}  // namespace ferry
