#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "ferry/evaluate.h"

namespace ferry {
namespace {

int best_class(std::span<const float> row) {  // the first of equals
  return static_cast<int>(std::max_element(row.begin(), row.end()) - row.begin());
}

// How many classes come before this one: larger score, or equal score and lower number.
int rank_of(std::span<const float> row, int label) {
  int rank = 0;
  for (int c = 0; c < static_cast<int>(row.size()); ++c)
    if (row[c] > row[label] || (row[c] == row[label] && c < label)) ++rank;
  return rank;
}

double log_sum_exp(std::span<const float> row) {
  const double largest = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (const float x : row) sum += std::exp(x - largest);
  return largest + std::log(sum);
}

double divergence(std::span<const float> reference, std::span<const float> row) {
  const double p_norm = log_sum_exp(reference), q_norm = log_sum_exp(row);
  double kl = 0;
  for (std::size_t c = 0; c < row.size(); ++c) {
    const double log_p = reference[c] - p_norm, log_q = row[c] - q_norm;
    kl += std::exp(log_p) * (log_p - log_q);
  }
  return std::max(kl, 0.0);  // rounding may fall below
}

bool finite(std::span<const float> row) {
  return std::all_of(row.begin(), row.end(), [](float x) { return std::isfinite(x); });
}

}  // namespace

Interval wilson_interval(std::int64_t hits, std::int64_t trials, double z) {
  if (trials <= 0) return {};
  const double n = static_cast<double>(trials), p = static_cast<double>(hits) / n, z2 = z * z;
  const double centre = (p + z2 / (2 * n)) / (1 + z2 / n);
  const double half = z / (1 + z2 / n) * std::sqrt(p * (1 - p) / n + z2 / (4 * n * n));
  return {std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

double Share::value() const noexcept {
  return trials > 0 ? static_cast<double>(hits) / static_cast<double>(trials)
                    : std::numeric_limits<double>::quiet_NaN();
}

Scorer::Scorer(std::string name, bool labelled, bool referenced) {
  row_.name = std::move(name);
  if (labelled) row_.top1.emplace(), row_.top5.emplace();
  if (referenced) row_.agreement.emplace();
}

bool Scorer::add(std::span<const float> logits, int label, std::span<const float> reference, const std::string& image) {
  if (failed()) return false;
  if (logits.empty() || !finite(logits)) {
    fail(fmt::format("{}: the scores hold NaN or infinity", image));
    return false;
  }
  ++row_.images;
  if (row_.top1) {
    const int rank = rank_of(logits, label);
    ++row_.top1->trials, ++row_.top5->trials;
    row_.top1->hits += rank < 1;
    row_.top5->hits += rank < 5;
  }
  if (row_.agreement) {
    ++row_.agreement->trials;
    row_.agreement->hits += best_class(logits) == best_class(reference);
    kl_sum_ += divergence(reference, logits);
    for (std::size_t c = 0; c < logits.size(); ++c) {
      const double difference = static_cast<double>(logits[c]) - reference[c];
      error_ += difference * difference;
      norm_ += static_cast<double>(reference[c]) * reference[c];
    }
  }
  return true;
}

void Scorer::fail(const std::string& why) { row_.failure = why; }

EvaluationRow Scorer::row() const {
  EvaluationRow row = row_;
  if (row.agreement && row.images > 0) {
    row.kl = kl_sum_ / static_cast<double>(row.images);
    row.relative_error = error_ > 0 ? std::sqrt(error_ / norm_) : 0.0;
  }
  return row;
}

}  // namespace ferry
