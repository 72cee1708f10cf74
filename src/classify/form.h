// How an engine wants pictures and how it gives scores, read from its ports.
#pragma once

#include <cstdint>

#include "ferry/backend.h"
#include "ferry/image.h"

namespace ferry {

struct EngineForm {
  DType input = DType::kFloat32;  // kFloat32 and kFloat16: normalised here; kUInt8: pixels, normalised by the network
  bool channels_last = false;
  int crop = 224;
  std::size_t input_bytes = 0;  // of one picture

  // Scores of every class, or the best few with their class numbers.
  DType scores = DType::kFloat32;
  std::int64_t classes = 0;  // how many scores a picture has
  bool top_k = false;        // then output `indices` holds class numbers
  DType index_type = DType::kInt64;
  std::size_t scores_output = 0, indices_output = 0;
};

/// Throws Error(kOpen) if the engine is no classifier of square colour pictures.
EngineForm form_of(const EngineInfo& info);

/// Throws Error(kUsage) unless the preset's crop is what the engine takes.
void check_crop(const EngineForm& form, const Preprocessing& preset);

/// Pictures that run together in a stream, where nobody says: what the engine is best at.
std::int64_t good_batch(const EngineInfo& info);
/// The smallest batch that the engine takes and that holds `count` pictures. Throws Error(kUsage) if there is none.
std::int64_t batch_for(const EngineInfo& info, std::int64_t count);

}  // namespace ferry
