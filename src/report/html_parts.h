// Pieces of the HTML page.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ferry/compare.h"

namespace ferry::html {

/// Text made harmless inside elements and quoted attributes; bytes that are not UTF-8 become U+FFFD.
std::string escape(std::string_view text);

/// The style sheet: light and dark, one column on a narrow screen.
extern const char* const kStyle;

using Rows = std::vector<const ComparisonRow*>;

/// Rows of one batch size and mode that ran, in order; one block each.
std::vector<Rows> blocks(const Comparison& comparison);

/// "base", "best" (the fastest that agrees), "wrong" or "": the class of a row in table and charts.
std::string role(const ComparisonRow& row, const Rows& block);

/// Images a second as bars, one a row.
std::string bars(const Rows& block);
/// The distribution of each row's times, each on its own scale, with its numbers.
std::string distributions(const Rows& block);
std::string numbers_table(const Rows& block);
/// Error against the tolerance, on a logarithmic scale, with cosine and top-k.
std::string accuracy(const Comparison& comparison);

}  // namespace ferry::html
