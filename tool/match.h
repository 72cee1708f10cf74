// One match: contestants get the same inputs, are timed in turns, and their outputs are held against the reference's.
#pragma once

#include <memory>
#include <vector>

#include "contestant.h"
#include "ferry/compare.h"
#include "ferry/error.h"

namespace ferry::tool {

using Contestants = std::vector<std::unique_ptr<Contestant>>;

/// Measures every contestant on `input` in one run of turns. A contestant that fails becomes a row with its failure and
/// the others go on. `reference` may be one of them, or stand aside, or be null: then outputs are only checked to be
/// finite. Throws Error(kInterrupted) on Ctrl-C.
std::vector<ComparisonRow> play(const Contestants& contestants, Contestant* reference, const TensorView& input,
                                const MeasureOptions& options, const Progress& progress);

/// Scores in float32, or probabilities and classes; nothing: there was no reference.
using Answer = std::optional<std::vector<Tensor>>;
/// Outputs against the expected ones; without these, only whether the numbers are finite.
Agreement agreement_of(const std::vector<Tensor>& outputs, const Answer& expected, const std::string& precision);
/// Pictures for everybody, float32 [n,c,h,w]: standard normal, or with `pixels` what random uint8 pixels become in a
/// graph of that form, so that engines with either input see the same.
Tensor test_pictures(const Shape& shape, std::uint64_t seed, const GraphForm* pixels);

/// What a failure is called in a row: cause and subject in one line.
std::string failure_text(const Error& error);

/// Does `work` for a row that has not failed yet; a failure is noted in it. Interruption goes through. True: it was
/// done.
template <typename Work>
bool try_for(ComparisonRow& row, Work&& work) {
  if (!row.failure.empty()) return false;
  try {
    work();
    return true;
  } catch (const Error& error) {
    if (error.stage() == Stage::kInterrupted) throw;
    row.failure = failure_text(error);
    return false;
  }
}

}  // namespace ferry::tool
