// How far an output is from the reference. Every check is written so that NaN fails it.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>

#include "ferry/compare.h"
#include "ferry/error.h"

namespace ferry {
namespace {

constexpr std::size_t kTop = 5;
using Row = std::span<const double>;

bool is_floating(DType dtype) {
  return dtype == DType::kFloat32 || dtype == DType::kFloat64 || dtype == DType::kFloat16 || dtype == DType::kBFloat16;
}

// Doubles hold every value of the narrower types, so nothing is judged by its own rounding.
std::vector<double> values_of(const TensorView& tensor) {
  const Tensor wide = convert(tensor, DType::kFloat64);
  const auto* first = reinterpret_cast<const double*>(wide.data());
  return {first, first + wide.elements()};
}

std::string first_not_finite(const std::vector<double>& values, const char* whose) {
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i]))
      return fmt::format("{} has {} at element {}", whose, std::isnan(values[i]) ? "NaN" : "Inf", i);
  return {};
}

double norm(Row values) { return std::sqrt(std::inner_product(values.begin(), values.end(), values.begin(), 0.0)); }

double relative_error(Row output, Row reference) {
  double squares = 0;
  for (std::size_t i = 0; i < output.size(); ++i) squares += (output[i] - reference[i]) * (output[i] - reference[i]);
  return squares == 0 ? 0 : std::sqrt(squares) / norm(reference);  // Inf where the reference is all zeros
}

double cosine(Row a, Row b) {
  const double lengths = norm(a) * norm(b);
  if (lengths == 0) return norm(a) == norm(b) ? 1 : 0;
  return std::clamp(std::inner_product(a.begin(), a.end(), b.begin(), 0.0) / lengths, -1.0, 1.0);
}

// Indices of the largest values, best first; of equal values the lower index comes first.
std::vector<std::size_t> best(Row values, std::size_t count) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  count = std::min(count, order.size());
  std::partial_sort(
      order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(),
      [&](std::size_t a, std::size_t b) { return values[a] > values[b] || (values[a] == values[b] && a < b); });
  order.resize(count);
  return order;
}

double overlap(const std::vector<std::size_t>& a, const std::vector<std::size_t>& b) {
  const auto shared =
      std::count_if(a.begin(), a.end(), [&](std::size_t i) { return std::count(b.begin(), b.end(), i); });
  return static_cast<double>(shared) / static_cast<double>(a.size());
}

void compare_rows(const std::vector<double>& output, const std::vector<double>& reference, Agreement& agreement) {
  const std::size_t rows = static_cast<std::size_t>(agreement.images), columns = output.size() / rows;
  agreement.relative_error = relative_error(output, reference);
  agreement.cosine = 1;
  agreement.max_abs_error = agreement.top1_agreement = agreement.top5_overlap = 0;
  for (std::size_t r = 0; r < rows; ++r) {
    const Row a = Row(output).subspan(r * columns, columns), b = Row(reference).subspan(r * columns, columns);
    agreement.cosine = std::min(agreement.cosine, cosine(a, b));
    for (std::size_t c = 0; c < columns; ++c)
      agreement.max_abs_error = std::max(agreement.max_abs_error, std::abs(a[c] - b[c]));
    const std::vector<std::size_t> top_a = best(a, kTop), top_b = best(b, kTop);
    agreement.top1_agreement += top_a[0] == top_b[0] ? 1.0 / static_cast<double>(rows) : 0;
    agreement.top5_overlap += overlap(top_b, top_a) / static_cast<double>(rows);
  }
}

std::string form_mismatch(const TensorView& output, const TensorView& reference) {
  if (output.shape != reference.shape)
    return fmt::format("shape {} is not the reference's {}", to_string(output.shape), to_string(reference.shape));
  if (output.dtype != reference.dtype)
    return fmt::format("type {} is not the reference's {}", name_of(output.dtype), name_of(reference.dtype));
  if (element_count(output.shape) == 0) return "there is nothing to compare: the output is empty";
  return {};
}

std::string judge(const Agreement& agreement, const Tolerance& tolerance) {
  if (!(agreement.relative_error <= tolerance.relative_error))
    return fmt::format("relative error {:.3g} exceeds {:.3g}", agreement.relative_error, tolerance.relative_error);
  // Half an image of slack: shares are sums of 1/images.
  const double slack = 0.5 / static_cast<double>(agreement.images);
  if (!(agreement.top1_agreement + slack >= tolerance.min_top1_agreement) && tolerance.min_top1_agreement > 0)
    return fmt::format("top-1 agreement {:.4f} is below {:.4f}", agreement.top1_agreement,
                       tolerance.min_top1_agreement);
  return {};
}

}  // namespace

Tolerance tolerance_for(const std::string& precision) {
  if (precision == "fp32") return {2e-4, 0};
  if (precision == "fp16") return {1e-2, 0};
  if (precision == "int8") return {1.5e-1, 0};
  throw Error(Stage::kUsage, precision, "there is no tolerance for this precision", "Known: fp32, fp16, int8.");
}

Agreement compare_outputs(const TensorView& output, const TensorView& reference, const Tolerance& tolerance) {
  Agreement agreement;
  agreement.relative_error = agreement.cosine = agreement.max_abs_error = agreement.top1_agreement =
      agreement.top5_overlap = std::numeric_limits<double>::quiet_NaN();
  for (const auto& [tensor, whose] : {std::pair{&output, "the output"}, std::pair{&reference, "the reference"}}) {
    if (!is_floating(tensor->dtype)) {
      agreement.failure = fmt::format("{} is {}, not floating point", whose, name_of(tensor->dtype));
      return agreement;
    }
  }
  const std::vector<double> out = values_of(output), ref = values_of(reference);
  agreement.failure = first_not_finite(out, "the output");
  if (agreement.failure.empty()) agreement.failure = first_not_finite(ref, "the reference");
  if (agreement.failure.empty()) agreement.failure = form_mismatch(output, reference);
  if (!agreement.failure.empty()) return agreement;

  agreement.images = output.shape.size() < 2 ? 1 : output.shape[0];
  compare_rows(out, ref, agreement);
  agreement.failure = judge(agreement, tolerance);
  agreement.ok = agreement.failure.empty();
  return agreement;
}

}  // namespace ferry
