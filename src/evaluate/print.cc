// An evaluation as JSON and as a table.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "ferry/evaluate.h"

namespace ferry {
namespace {

using Json = nlohmann::ordered_json;

Json share_json(const std::optional<Share>& share) {
  if (!share) return nullptr;
  const Interval interval = share->interval();
  return {{"share", share->value()},
          {"hits", share->hits},
          {"images", share->trials},
          {"ci95", {interval.low, interval.high}}};
}

template <typename T>
Json optional_json(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

// "79.75 % [75.5, 83.4]"
std::string share_text(const std::optional<Share>& share) {
  if (!share || share->trials == 0) return "-";
  const Interval interval = share->interval();
  return fmt::format("{:.2f} % [{:.1f}, {:.1f}]", 100 * share->value(), 100 * interval.low, 100 * interval.high);
}

std::string number_text(const std::optional<double>& value, double scale, const char* unit) {
  return value ? fmt::format("{:.3g}{}", *value * scale, unit) : "-";
}

}  // namespace

std::string to_json(const Evaluation& evaluation) {
  Json rows = Json::array();
  for (const EvaluationRow& row : evaluation.rows)
    rows.push_back({{"name", row.name},
                    {"images", row.images},
                    {"top1", share_json(row.top1)},
                    {"top5", share_json(row.top5)},
                    {"agreement", share_json(row.agreement)},
                    {"kl", optional_json(row.kl)},
                    {"relative_error", optional_json(row.relative_error)},
                    {"seconds", row.seconds},
                    {"failure", row.failure.empty() ? Json(nullptr) : Json(row.failure)}});
  Json broken = Json::array();
  for (const BrokenImage& image : evaluation.broken)
    broken.push_back({{"path", image.path}, {"message", image.message}});
  const Json result = {{"images", evaluation.images},
                       {"layout", evaluation.layout},
                       {"preprocessing", evaluation.preprocessing},
                       {"results", std::move(rows)},
                       {"broken", std::move(broken)}};
  return result.dump(2, ' ', false, Json::error_handler_t::replace);
}

std::string to_table(const Evaluation& evaluation) {
  constexpr auto kRow = "{:<{}}  {:>21}  {:>21}  {:>21}  {:>8}  {:>7}\n";
  std::size_t width = 6;
  for (const EvaluationRow& row : evaluation.rows) width = std::max(width, std::min<std::size_t>(row.name.size(), 40));
  std::string text = fmt::format(fmt::runtime(kRow), "engine", width, "top-1 [95 %]", "top-5 [95 %]",
                                 "agreement [95 %]", "KL", "error");
  for (const EvaluationRow& row : evaluation.rows) {
    const std::string name = row.name.size() <= width ? row.name : row.name.substr(0, width - 2) + "..";
    if (!row.failure.empty()) {
      text += fmt::format("{:<{}}  failed after {} images: {}\n", name, width, row.images, row.failure);
      continue;
    }
    text +=
        fmt::format(fmt::runtime(kRow), name, width, share_text(row.top1), share_text(row.top5),
                    share_text(row.agreement), number_text(row.kl, 1, ""), number_text(row.relative_error, 100, " %"));
  }
  return text;
}

}  // namespace ferry
