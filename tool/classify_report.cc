#include "classify_report.h"

#include <fmt/core.h>

namespace ferry::tool {

void Gathering::begin_engine(const std::string& name) {
  sheet_.engines.push_back(name);
  if (sheet_.engines.size() > 1) counts_.emplace_back();
}

void Gathering::add(Classified&& result) {
  const std::size_t engine = sheet_.engines.size() - 1;
  const int best = result.labels.empty() ? -1 : result.labels.front().index;
  if (engine == 0) {
    best_.push_back(best);
    if (result.number >= shown_) {
      ++sheet_.left_out;
      return;
    }
    sheet_.photographs.push_back(
        {result.name, std::move(result.thumbnail), {std::move(result.labels)}, std::move(result.error)});
    return;
  }
  if (result.number >= best_.size()) return;  // the first run ended before it
  if (best_[result.number] >= 0) {
    ++counts_.back().of;
    if (best == best_[result.number]) ++counts_.back().agree;
  }
  if (result.number < sheet_.photographs.size())
    sheet_.photographs[result.number].labels.push_back(std::move(result.labels));
}

Json Gathering::agreement() const {
  Json list = Json::array();
  for (std::size_t i = 0; i < counts_.size(); ++i)
    list.push_back({{"engine", sheet_.engines[i + 1]}, {"agree", counts_[i].agree}, {"of", counts_[i].of}});
  return list;
}

std::string Gathering::agreement_text() const {
  std::string text;
  for (std::size_t i = 0; i < counts_.size(); ++i)
    text += fmt::format("{}{}: the same best class on {} of {}", text.empty() ? "" : "\n", sheet_.engines[i + 1],
                        counts_[i].agree, counts_[i].of);
  return text;
}

}  // namespace ferry::tool
