#include <algorithm>
#include <cmath>
#include <numeric>
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
  if (std::any_of(logits.begin(), logits.end(), [](float x) { return std::isnan(x); }))
    throw Error(Stage::kRun, "output", "the scores hold a NaN");
  std::vector<int> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto count = std::min(order.size(), static_cast<std::size_t>(std::max(k, 0)));
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
                    [&](int a, int b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
  std::vector<ClassScore> best;
  for (std::size_t i = 0; i < count; ++i) best.push_back({order[i], logits[order[i]]});
  if (!softmax || best.empty()) return best;
  const double largest = best.front().score;
  if (!std::isfinite(largest)) throw Error(Stage::kRun, "output", "the scores hold an infinity");
  double sum = 0;
  for (const float x : logits) sum += std::exp(x - largest);
  for (ClassScore& score : best) score.score = static_cast<float>(std::exp(score.score - largest) / sum);
  return best;
}

}  // namespace ferry
