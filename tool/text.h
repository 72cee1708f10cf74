// Numbers and names as people read them; plain tables.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ferry::tool {

std::string human_bytes(double bytes);        // "89.5 MB" (10^6)
std::string human_count(std::int64_t count);  // "44,549,160"
std::string human_seconds(double seconds);    // "0.42 s", "12 s", "3 min 05 s"

/// The text with control characters (also escape codes) replaced by \xNN: for names that come out of files.
std::string printable(std::string_view text);
/// What a shell reads back as this one word.
std::string shell_quoted(const std::string& word);
/// Columns on a terminal: UTF-8 code points (none of ours is wide).
std::size_t display_width(std::string_view text);
std::string padded(std::string_view text, std::size_t width);
std::string right_aligned(std::string_view text, std::size_t width);

/// Splits words into lines that end before column `width`. The first starts at column `indent`, whatever the caller
/// puts there; the others start with that many spaces.
std::string wrapped(std::string_view text, std::size_t width, std::size_t indent);

/// "  key      value" lines with the values aligned and wrapped; an empty value is left out.
std::string key_values(const std::vector<std::pair<std::string, std::string>>& rows, std::size_t columns = 100);

/// Columns aligned, two spaces between them; columns whose letter in `alignment` is 'r' are aligned to the right.
std::string table(const std::vector<std::vector<std::string>>& rows, std::string_view alignment);

/// Of a variable of the environment; "" where it is not set.
std::string environment(const char* name);

std::string lower(std::string text);
bool ends_with_any(std::string_view text, std::initializer_list<std::string_view> endings);

}  // namespace ferry::tool
