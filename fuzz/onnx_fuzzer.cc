#include <string>

#include "ferry/error.h"
#include "ferry/onnx.h"

// Whatever the bytes are, loading and every pass either work or end in an Error, and what they leave passes the check.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    ferry::OnnxModel model =
        ferry::OnnxModel::from_bytes(std::string(reinterpret_cast<const char*>(data), size), "fuzz");
    model.summary();
    ferry::prepare_foreign(model);
    ferry::fold_batch_norm(model);
    model.check();
    ferry::convert_to_fp16(model, /*keep_io=*/size % 2 == 0);
  } catch (const ferry::Error&) {
  }
  return 0;
}
