// Judging top-k outputs: between logarithms of probabilities, which differ as scores do.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <unordered_map>

#include "ferry/compare.h"

namespace ferry {
namespace {

constexpr double kLeastProbability = 1e-38;  // what softmax in FP32 still tells from zero
constexpr std::size_t kMostGuesses = 5;
constexpr double kLastDigits = 1.00001;  // a quick exp need not be monotone in its last digits
constexpr double kSlack = 4;             // one error may be so many times the root mean square of all

struct Guess {
  std::int64_t index;
  double log;  // of the probability
};
using Guesses = std::vector<Guess>;  // best first

struct Ranking {
  std::vector<Guesses> rows;
  double scale = 1;     // root mean square of logarithms: what errors are held against
  std::string failure;  // why it is none
};

double rms(const std::vector<double>& values) {
  const double squares = std::inner_product(values.begin(), values.end(), values.begin(), 0.0);
  return values.empty() ? 0 : std::sqrt(squares / static_cast<double>(values.size()));
}

double log_of(double probability) { return std::log(std::max(probability, kLeastProbability)); }

std::string form_failure(const TopKView& view) {
  const TensorView &p = view.probabilities, &c = view.classes;
  if (p.dtype != DType::kFloat32 || c.dtype != DType::kInt32 || p.shape != c.shape || p.shape.size() != 2)
    return fmt::format("probabilities are {} {} and classes {} {}: no top-k", name_of(p.dtype), to_string(p.shape),
                       name_of(c.dtype), to_string(c.shape));
  return element_count(p.shape) == 0 ? "there is nothing to compare: the output is empty" : std::string();
}

// What is wrong with one image's guesses in themselves. Written so that NaN fails.
std::string row_failure(const Guesses& row, const float* probabilities, int of, std::size_t image, const char* whose) {
  for (std::size_t k = 0; k < row.size(); ++k) {
    const auto p = static_cast<double>(probabilities[k]);
    const std::int64_t c = row[k].index;
    if (!(p >= 0 && p <= 1.001)) return fmt::format("{} has {} for a probability at image {}", whose, p, image);
    if (c < 0 || (of > 0 && c >= of)) return fmt::format("{} has class {} at image {}: out of range", whose, c, image);
    if (k > 0 && !(p <= kLastDigits * static_cast<double>(probabilities[k - 1])))
      return fmt::format("{} is not in order at image {}", whose, image);
    for (std::size_t before = 0; before < k; ++before)
      if (row[before].index == c) return fmt::format("{} has class {} twice at image {}", whose, c, image);
  }
  return {};
}

Ranking ranking_of(const TopKView& view, const char* whose) {
  Ranking ranking;
  ranking.failure = form_failure(view);
  if (!ranking.failure.empty()) return ranking;
  const Tensor p = Tensor::copy_of(view.probabilities), c = Tensor::copy_of(view.classes);  // aligned
  const auto* classes = reinterpret_cast<const std::int32_t*>(c.data());
  const auto k = static_cast<std::size_t>(p.shape()[1]);
  std::vector<double> logs;
  for (std::size_t image = 0; image < static_cast<std::size_t>(p.shape()[0]); ++image) {
    const float* probabilities = p.floats().data() + image * k;
    Guesses row;
    for (std::size_t i = 0; i < k; ++i) row.push_back({classes[image * k + i], log_of(probabilities[i])});
    ranking.failure = row_failure(row, probabilities, view.of, image, whose);
    if (!ranking.failure.empty()) return ranking;
    for (const Guess& guess : row) logs.push_back(guess.log);
    ranking.rows.push_back(std::move(row));
  }
  ranking.scale = std::max({1.0, rms(logs), view.of > 1 ? std::log(view.of) : 0.0});
  return ranking;
}

// All classes of one image, best first.
Guesses ranked(const double* scores, std::size_t classes) {
  const double largest = *std::max_element(scores, scores + classes);
  double sum = 0;
  for (std::size_t c = 0; c < classes; ++c) sum += std::exp(scores[c] - largest);
  Guesses row;
  for (std::size_t c = 0; c < classes; ++c)
    row.push_back(
        {static_cast<std::int64_t>(c), std::max(scores[c] - largest - std::log(sum), std::log(kLeastProbability))});
  std::stable_sort(row.begin(), row.end(),
                   [&](const Guess& a, const Guess& b) { return scores[a.index] > scores[b.index]; });
  return row;
}

Ranking ranking_of_scores(const TensorView& view) {
  Ranking ranking;
  if (view.shape.size() != 2 || element_count(view.shape) == 0 || view.dtype == DType::kInt32) {
    ranking.failure = fmt::format("the reference is {} {}: no scores", name_of(view.dtype), to_string(view.shape));
    return ranking;
  }
  const Tensor wide = convert(view, DType::kFloat64);
  const auto* scores = reinterpret_cast<const double*>(wide.data());
  const auto classes = static_cast<std::size_t>(view.shape[1]);
  std::vector<double> logs;
  for (std::int64_t image = 0; image < view.shape[0]; ++image, scores += classes) {
    if (!std::all_of(scores, scores + classes, [](double s) { return std::isfinite(s); })) {
      ranking.failure = "the reference has NaN or Inf";
      return ranking;
    }
    ranking.rows.push_back(ranked(scores, classes));
    for (const Guess& guess : ranking.rows.back()) logs.push_back(guess.log);
  }
  ranking.scale = std::max(rms(logs), std::log(static_cast<double>(std::max<std::size_t>(classes, 3))));
  return ranking;
}

double overlap(const Guesses& out, const Guesses& ref) {
  const std::size_t count = std::min({kMostGuesses, out.size(), ref.size()});
  std::size_t shared = 0;
  for (std::size_t i = 0; i < count; ++i)
    shared += std::count_if(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(count),
                            [&](const Guess& g) { return g.index == ref[i].index; }) > 0;
  return static_cast<double>(shared) / static_cast<double>(count);
}

// Errors of one image are added to `errors`. What fails at once, in words.
std::string compare_row(const Guesses& out, const Guesses& ref, double slack, std::size_t image,
                        std::vector<double>& errors, Agreement& agreement) {
  std::unordered_map<std::int64_t, double> known;
  for (const Guess& guess : ref) known[guess.index] = guess.log;
  double dot = 0, out_norm = 0, ref_norm = 0;
  std::string failure;
  for (std::size_t k = 0; k < out.size(); ++k) {
    const auto found = known.find(out[k].index);
    const double expected = found != known.end() ? found->second : ref.back().log;  // at most that
    const double place = ref[std::min(k, ref.size() - 1)].log;
    const double a = std::exp(out[k].log), b = std::exp(expected);
    if (failure.empty() && !(place - expected <= slack && (found != known.end() || out[k].log - expected <= slack)))
      failure =
          fmt::format("class {} at place {} of image {} is not among the reference's best", out[k].index, k + 1, image);
    errors.push_back(out[k].log - expected);
    agreement.max_abs_error = std::max(agreement.max_abs_error, std::abs(a - b));
    dot += a * b;
    out_norm += a * a;
    ref_norm += b * b;
  }
  const double lengths = std::sqrt(out_norm * ref_norm);
  agreement.cosine = std::min(agreement.cosine, lengths > 0 ? std::min(dot / lengths, 1.0) : 0);
  return failure;
}

Agreement judge(const Ranking& out, const Ranking& ref, const Tolerance& tolerance) {
  Agreement agreement;
  agreement.relative_error = agreement.cosine = agreement.max_abs_error = agreement.top1_agreement =
      agreement.top5_overlap = std::numeric_limits<double>::quiet_NaN();
  agreement.failure = !out.failure.empty() ? out.failure : ref.failure;
  if (agreement.failure.empty() && out.rows.size() != ref.rows.size())
    agreement.failure = fmt::format("{} images are not the reference's {}", out.rows.size(), ref.rows.size());
  if (!agreement.failure.empty()) return agreement;
  agreement.images = static_cast<std::int64_t>(out.rows.size());
  agreement.cosine = 1;
  agreement.max_abs_error = agreement.top1_agreement = agreement.top5_overlap = 0;
  std::vector<double> errors;
  const double each = 1 / static_cast<double>(out.rows.size());
  for (std::size_t i = 0; i < out.rows.size(); ++i) {
    const Guesses &a = out.rows[i], &b = ref.rows[i];
    const std::string failure = compare_row(a, b, kSlack * tolerance.relative_error * ref.scale, i, errors, agreement);
    if (agreement.failure.empty()) agreement.failure = failure;
    agreement.top1_agreement += a[0].index == b[0].index ? each : 0;
    agreement.top5_overlap += each * overlap(a, b);
  }
  agreement.relative_error = rms(errors) / ref.scale;
  if (agreement.failure.empty() && !(agreement.relative_error <= tolerance.relative_error))
    agreement.failure =
        fmt::format("relative error {:.3g} exceeds {:.3g}", agreement.relative_error, tolerance.relative_error);
  if (agreement.failure.empty() && !(agreement.top1_agreement + each / 2 >= tolerance.min_top1_agreement))
    agreement.failure =
        fmt::format("top-1 agreement {:.4f} is below {:.4f}", agreement.top1_agreement, tolerance.min_top1_agreement);
  agreement.ok = agreement.failure.empty();
  return agreement;
}

}  // namespace

Agreement compare_top_k(const TopKView& output, const TensorView& scores, const Tolerance& tolerance) {
  return judge(ranking_of(output, "the output"), ranking_of_scores(scores), tolerance);
}

Agreement compare_top_k(const TopKView& output, const TopKView& reference, const Tolerance& tolerance) {
  return judge(ranking_of(output, "the output"), ranking_of(reference, "the reference"), tolerance);
}

}  // namespace ferry
