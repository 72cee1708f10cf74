// Checkpoints made in memory, well formed or not: pickles op by op, zip archives entry by entry.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace ferry {

/// Little-endian bytes of a number.
inline std::string le(std::uint64_t value, int size) {
  std::string bytes;
  for (; size > 0; --size, value >>= 8) bytes += static_cast<char>(value & 255);
  return bytes;
}

/// Pickle opcodes, appended one after the other.
class Pickle {
 public:
  explicit Pickle(int protocol = 2) { bytes = std::string("\x80") + static_cast<char>(protocol); }
  Pickle& op(std::string_view raw) {
    bytes += raw;
    return *this;
  }
  Pickle& text(std::string_view value) { return op("X" + le(value.size(), 4) + std::string(value)); }
  Pickle& number(std::int64_t value) { return op(std::string("\x8a\x08") + le(static_cast<std::uint64_t>(value), 8)); }
  Pickle& global(const std::string& module, const std::string& name) { return op("c" + module + "\n" + name + "\n"); }
  Pickle& numbers(const std::vector<std::int64_t>& values) {
    op("(");
    for (std::int64_t value : values) number(value);
    return op("t");
  }
  Pickle& storage(const std::string& type, const std::string& key, std::int64_t count) {
    return op("(").text("storage").global("torch", type).text(key).text("cpu").number(count).op("tQ");
  }
  /// _rebuild_tensor_v2(storage, offset, shape, strides, False, OrderedDict()).
  Pickle& tensor(const std::string& type, const std::string& key, std::int64_t count, std::int64_t offset,
                 const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& strides) {
    global("torch._utils", "_rebuild_tensor_v2").op("(").storage(type, key, count).number(offset);
    return numbers(shape).numbers(strides).op("\x89").global("collections", "OrderedDict").op(")RtR");
  }
  std::string done() const { return bytes + "."; }
  std::string bytes;
};

struct ZipItem {
  std::string name, content;
  bool deflate = false;
};

/// A zip archive; the hooks change the numbers it writes.
struct ZipMaker {
  bool zip64 = false;               // 64-bit sizes, offsets and end record, as torch writes for large files
  std::uint64_t size_offset = 0;    // added to every uncompressed size in the directory
  std::uint64_t header_offset = 0;  // added to every local header's position
  std::uint64_t entry_count = 0;    // added to the number of entries

  std::string make(const std::vector<ZipItem>& items) const {
    std::string file, directory;
    for (const ZipItem& item : items) {
      const std::string packed = item.deflate ? deflated(item.content) : item.content;
      const auto crc = static_cast<std::uint32_t>(
          ::crc32(0, reinterpret_cast<const Bytef*>(item.content.data()), static_cast<uInt>(item.content.size())));
      const std::uint64_t at = file.size() + header_offset, size = item.content.size() + size_offset;
      const std::string common = le(item.deflate ? 8 : 0, 2) + le(0, 4) + le(crc, 4);
      file += "PK\x03\x04" + le(20, 2) + le(0, 2) + common + le(packed.size(), 4) + le(item.content.size(), 4) +
              le(item.name.size(), 2) + le(0, 2) + item.name + packed;
      std::string extra, sizes = le(packed.size(), 4) + le(size, 4), position = le(at, 4);
      if (zip64) {
        extra = le(1, 2) + le(24, 2) + le(size, 8) + le(packed.size(), 8) + le(at, 8);
        sizes = position = le(0xffffffff, 4);
        sizes += position;
      }
      directory += "PK\x01\x02" + le(45, 2) + le(45, 2) + le(0, 2) + common + sizes + le(item.name.size(), 2) +
                   le(extra.size(), 2) + le(0, 2) + le(0, 8) + position + item.name + extra;
    }
    return file + directory + end(file.size(), directory.size(), items.size() + entry_count);
  }

 private:
  std::string end(std::uint64_t offset, std::uint64_t size, std::uint64_t count) const {
    if (!zip64)
      return std::string("PK\x05\x06") + le(0, 4) + le(count, 2) + le(count, 2) + le(size, 4) + le(offset, 4) +
             le(0, 2);
    const std::string record = "PK\x06\x06" + le(44, 8) + le(45, 2) + le(45, 2) + le(0, 8) + le(count, 8) +
                               le(count, 8) + le(size, 8) + le(offset, 8);
    const std::string locator = "PK\x06\x07" + le(0, 4) + le(offset + size, 8) + le(1, 4);
    return record + locator + "PK\x05\x06" + le(0, 4) + le(0xffff, 2) + le(0xffff, 2) + le(0xffffffff, 4) +
           le(0xffffffff, 4) + le(0, 2);
  }
  static std::string deflated(const std::string& content) {
    z_stream stream{};
    deflateInit2(&stream, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY);
    std::string packed(deflateBound(&stream, static_cast<uLong>(content.size())), '\0');
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
    stream.avail_in = static_cast<uInt>(content.size());
    stream.next_out = reinterpret_cast<Bytef*>(packed.data());
    stream.avail_out = static_cast<uInt>(packed.size());
    ::deflate(&stream, Z_FINISH);
    packed.resize(stream.total_out);
    deflateEnd(&stream);
    return packed;
  }
};

/// A torch zip archive of a pickle and storages.
inline std::string torch_zip(const std::string& pickle, std::vector<ZipItem> storages = {},
                             const ZipMaker& maker = {}) {
  std::vector<ZipItem> items{{"a/data.pkl", pickle}};
  for (ZipItem& storage : storages) items.push_back({"a/data/" + storage.name, storage.content, storage.deflate});
  return maker.make(items);
}

/// A legacy file: `keys` are the storages' keys, `storages` what follows the last pickle.
inline std::string torch_legacy(const std::string& pickle, const std::string& keys, const std::string& storages) {
  const std::string magic("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
  return magic + Pickle().number(1001).done() + Pickle().op("}").done() + pickle + keys + storages;
}

/// A dictionary of one tensor "w": float32 {2, 3} in storage "0" of six elements.
inline std::string one_tensor() {
  return Pickle().op("}").text("w").tensor("FloatStorage", "0", 6, 0, {2, 3}, {3, 1}).op("s").done();
}

/// A safetensors file of a header and data.
inline std::string safetensors(const std::string& header, const std::string& data) {
  return le(header.size(), 8) + header + data;
}

struct NamedShape {
  std::string name;
  std::vector<std::int64_t> shape;
};

/// A safetensors file of float32 zeros.
inline std::string zeros(const std::vector<NamedShape>& tensors) {
  std::string header = "{";
  std::size_t end = 0;
  for (const NamedShape& tensor : tensors) {
    std::string dims;
    std::size_t bytes = 4;
    for (std::int64_t dim : tensor.shape) {
      dims += (dims.empty() ? "" : ",") + std::to_string(dim);
      bytes *= static_cast<std::size_t>(dim);
    }
    header += (header.size() > 1 ? ",\"" : "\"") + tensor.name + R"(":{"dtype":"F32","shape":[)" + dims +
              R"(],"data_offsets":[)" + std::to_string(end) + "," + std::to_string(end + bytes) + "]}";
    end += bytes;
  }
  return safetensors(header + "}", std::string(end, '\0'));
}

}  // namespace ferry
