// `ferry classify --against ... --report FILE`: what other engines say of the same photographs, and the contact sheet.
#pragma once

#include <string>
#include <vector>

#include "context.h"
#include "ferry/contact_sheet.h"

namespace ferry::tool {

/// Gathers a first run, then each further engine's, picture by picture. Of photographs beyond `shown` only the best
/// class is kept.
class Gathering {
 public:
  Gathering(bool keep_photographs, std::size_t shown) : shown_(keep_photographs ? shown : 0) {}

  void begin_engine(const std::string& name);
  void add(Classified&& result);

  /// {"engine":...,"agree":N,"of":N} for each further engine.
  Json agreement() const;
  std::string agreement_text() const;
  ContactSheet& sheet() noexcept { return sheet_; }

 private:
  struct Count {
    std::size_t agree = 0, of = 0;
  };
  std::size_t shown_;
  ContactSheet sheet_;
  std::vector<int> best_;  // class number of the first engine; -1: none
  std::vector<Count> counts_;
};

}  // namespace ferry::tool
