#include <string>

#include "read_all.h"

// The input as it is; then its part up to the last '}' as the header, with the length that makes it one.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes = ferry::view(data, size);
  ferry::read_all(bytes);
  const std::size_t brace = bytes.rfind('}');
  if (brace == std::string_view::npos) return 0;
  std::string file;
  std::uint64_t length = brace + 1;
  for (int i = 0; i < 8; ++i, length >>= 8) file += static_cast<char>(length & 255);
  file += bytes;
  ferry::read_all(file);
  return 0;
}
