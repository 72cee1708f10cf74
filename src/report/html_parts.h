// Pieces of the HTML page.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ferry/compare.h"
#include "ferry/report.h"

namespace ferry::html {

/// Text made harmless inside elements and quoted attributes; bytes that are not UTF-8 become U+FFFD.
std::string escape(std::string_view text);

/// The style sheet: light and dark, one column on a narrow screen.
extern const char* const kStyle;

using Rows = std::vector<const ComparisonRow*>;

/// Rows of one batch size and mode that ran, in order; one block each.
std::vector<Rows> blocks(const Comparison& comparison);

/// What a row is called in charts and tables; escaped.
std::string label(const ComparisonRow& row);
/// "base", "best" (the fastest that agrees), "wrong" or "": the class of a row in table and charts.
std::string role(const ComparisonRow& row, const Rows& block);

/// Images a second as bars, one a row.
std::string bars(const Rows& block);
/// The distribution of each row's times, each on its own scale, with its numbers.
std::string distributions(const Rows& block);
std::string numbers_table(const Rows& block);
/// Stages stacked in one bar and the longest layers, of each row with a layer profile. Empty if none has.
std::string layers(const Comparison& comparison);
/// What changed since `before`.
std::string changes(const ReportDifference& difference, const Comparison& before);
/// Was this row's output held against a reference? A row of `bench` was not.
bool was_compared(const ComparisonRow& row);
/// Error against the tolerance, on a logarithmic scale, with cosine and top-k. Empty if nothing was compared.
std::string accuracy(const Comparison& comparison);
/// Top-1, agreement and so on of each engine on real pictures, as a section. Empty if none was shown any.
std::string pictures(const Comparison& comparison);

}  // namespace ferry::html
