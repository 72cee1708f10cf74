// Pillow's antialiased bilinear resampling of 8-bit pictures, bit for bit, restricted to a window of the result.
//
// Pillow resamples each axis apart: integer weights with 22 fractional bits, a rounded 8-bit value after each pass.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ferry {

/// The weights of one axis for the outputs [first, first + count).
struct ResampleAxis {
  struct Output {
    int start, taps;      // source samples [start, start + taps)
    std::size_t weights;  // index of the first weight
  };
  std::vector<Output> outputs;
  std::vector<std::int32_t> weights;
  int source_first = 0, source_end = 0;  // the union of what the outputs read

  /// For an axis of `in` samples resampled to `out`. Reuses the vectors' memory.
  void assign(int in, int out, int first, int count);
};

/// What `ResampleAxis::assign` would read: source samples [first, end). At least one, also for no outputs.
struct SourceSpan {
  int first = 0, end = 1;
};
SourceSpan source_span(int in, int out, int first, int count);

/// Rows of bytes that lie `stride` apart. Reading up to kRowSlack bytes beyond a row's last byte must be allowed.
constexpr std::size_t kRowSlack = 64;
struct Rows {
  const std::uint8_t* first;
  std::size_t stride;
};

/// One output row: for each output of the axis an RGB pixel from the RGB pixels of `row` (pixel 0 is source sample 0).
void resample_row(const ResampleAxis& axis, const std::uint8_t* row, std::uint8_t* to);
/// One output row of `bytes` bytes (written in whole blocks of kRowSlack) from the rows of `from`, where row 0 is
/// source sample `axis.source_first`.
void resample_column(const ResampleAxis& axis, std::size_t output, Rows from, std::size_t bytes, std::uint8_t* to);

/// Pillow shrinks the height first when that is more than twice the work of the width.
bool height_first(int in_width, int in_height, int out_width, int out_height);

}  // namespace ferry
