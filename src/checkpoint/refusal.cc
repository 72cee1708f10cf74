#include "checkpoint/refusal.h"

namespace ferry {

std::string Refusal::printable(std::string_view text) {
  constexpr std::size_t kLongest = 120;
  std::string safe(text.substr(0, kLongest));
  for (char& c : safe)
    if (c < 0x20 || c > 0x7e) c = '?';
  if (text.size() > kLongest) safe += "...";
  return safe;
}

}  // namespace ferry
