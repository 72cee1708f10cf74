#include "report/text.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace ferry {
namespace {

struct Character {
  std::string_view bytes;
  std::size_t width = 1;
};

struct Range {
  std::uint32_t first, last;
};
constexpr std::array<Range, 6> kNarrowest{
    {{0x300, 0x36f}, {0x200b, 0x200f}, {0x1ab0, 0x1aff}, {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}}};
constexpr std::array<Range, 9> kWide{{{0x1100, 0x115f},
                                      {0x2e80, 0x303e},
                                      {0x3041, 0xa4cf},
                                      {0xac00, 0xd7a3},
                                      {0xf900, 0xfaff},
                                      {0xfe30, 0xfe6f},
                                      {0xff00, 0xff60},
                                      {0x1f300, 0x1faff},
                                      {0x20000, 0x3fffd}}};

template <std::size_t N>
bool within(std::uint32_t code, const std::array<Range, N>& ranges) {
  return std::any_of(ranges.begin(), ranges.end(), [&](Range r) { return code >= r.first && code <= r.last; });
}

std::size_t sequence_length(unsigned char lead) {
  if (lead >= 0xf0 && lead < 0xf8) return 4;
  if (lead >= 0xe0) return lead < 0xf0 ? 3 : 1;
  return lead >= 0xc2 ? 2 : 1;
}

// The first character of a non-empty text; a malformed byte stands for itself.
Character first_character(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const std::size_t length = sequence_length(lead);
  if (length == 1 || length > text.size()) return {text.substr(0, 1), 1};
  std::uint32_t code = lead & (0x7fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    const auto next = static_cast<unsigned char>(text[i]);
    if ((next & 0xc0) != 0x80) return {text.substr(0, 1), 1};
    code = (code << 6) | (next & 0x3fu);
  }
  const std::size_t width = within(code, kNarrowest) ? 0 : within(code, kWide) ? 2 : 1;
  return {text.substr(0, length), width};
}

bool is_control(std::string_view bytes) {
  const auto byte = static_cast<unsigned char>(bytes[0]);
  return bytes.size() == 1 && (byte < 0x20 || byte == 0x7f);
}

// Cuts without an ellipsis; `used` gets the columns taken.
std::string cut(std::string_view text, std::size_t width, std::size_t& used) {
  std::string result;
  used = 0;
  while (!text.empty()) {
    const Character c = first_character(text);
    if (used + c.width > width) break;
    result += is_control(c.bytes) ? std::string_view(" ") : c.bytes;
    used += c.width;
    text.remove_prefix(c.bytes.size());
  }
  return result;
}

}  // namespace

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  while (!text.empty()) {
    const Character c = first_character(text);
    width += c.width;
    text.remove_prefix(c.bytes.size());
  }
  return width;
}

std::string fit(std::string_view text, std::size_t width) {
  std::size_t used = 0;
  if (display_width(text) <= width) return cut(text, width, used);
  return width == 0 ? "" : cut(text, width - 1, used) + "…";
}

std::string left(std::string_view text, std::size_t width) {
  const std::string fitted = fit(text, width);
  return fitted + std::string(width - display_width(fitted), ' ');
}

std::string right(std::string_view text, std::size_t width) {
  const std::string fitted = fit(text, width);
  return std::string(width - display_width(fitted), ' ') + fitted;
}

std::vector<std::string> wrap(std::string_view text, std::size_t width) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    std::size_t used = 0;
    const std::size_t newline = text.find('\n');
    std::string line = cut(text.substr(0, newline), width, used);
    if (line.empty() && newline != 0) line = std::string(first_character(text).bytes);  // wider than the width: no loop
    if (line.size() < text.size() && line.size() != newline) {
      const std::size_t space = text[line.size()] == ' ' ? line.size() : line.rfind(' ');
      if (space != std::string::npos && space > 0) line.resize(space);
    }
    text.remove_prefix(line.size());
    if (!text.empty() && (text[0] == ' ' || text[0] == '\n')) text.remove_prefix(1);
    lines.push_back(std::move(line));
  }
  return lines;
}

std::string styled(const std::string& text, Style style, bool color) {
  if (!color || style == Style::kPlain) return text;
  const char* code = "";
  switch (style) {
    case Style::kPlain:
      break;
    case Style::kBold:
      code = "1";
      break;
    case Style::kDim:
      code = "2";
      break;
    case Style::kGood:
      code = "32";
      break;
    case Style::kBad:
      code = "31";
      break;
    case Style::kWarning:
      code = "33";
      break;
  }
  return std::string("\x1b[") + code + "m" + text + "\x1b[0m";
}

}  // namespace ferry
