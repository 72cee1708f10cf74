// The zip reader alone, then the torch zip format over it.
#include "checkpoint/zip.h"
#include "read_all.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ferry;
  const std::string_view bytes = view(data, size);
  try {
    const ZipArchive zip(bytes, Refusal("fuzz"), 1000);
    for (const ZipEntry& entry : zip.entries()) {
      try {
        if (entry.method == 0) {
          zip.check_crc(entry, zip.stored(entry));
        } else if (entry.size < (1u << 20)) {
          zip.inflate(entry);
        }
      } catch (const Error&) {
      }
    }
  } catch (const Error&) {
  }
  read_all(bytes);
  return 0;
}
