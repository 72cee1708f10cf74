// Laying out text in columns of a terminal.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace ferry {

/// Columns that a terminal needs for UTF-8 text: combining marks take none, East Asian wide characters two. A byte that
/// is not UTF-8 takes one.
std::size_t display_width(std::string_view text);

/// Cut to at most `width` columns, ending in "…" where something was cut; never inside a character. Control characters
/// (a newline or an escape sequence in a file name) become spaces.
std::string fit(std::string_view text, std::size_t width);
/// `fit`, then padded with spaces to exactly `width` columns.
std::string left(std::string_view text, std::size_t width);
std::string right(std::string_view text, std::size_t width);

/// Lines of at most `width` columns, broken at spaces where there are any.
std::vector<std::string> wrap(std::string_view text, std::size_t width);

enum class Style { kPlain, kBold, kDim, kGood, kBad, kWarning };
/// ANSI colours round `text`; `text` itself if `color` is false.
std::string styled(const std::string& text, Style style, bool color);

}  // namespace ferry
