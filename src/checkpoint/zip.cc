#include "checkpoint/zip.h"

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "checkpoint/byte_reader.h"

namespace ferry {
namespace {

constexpr std::string_view kLocalHeader("PK\x03\x04", 4), kCentralHeader("PK\x01\x02", 4);
constexpr std::string_view kEnd("PK\x05\x06", 4), kEnd64("PK\x06\x06", 4), kLocator64("PK\x06\x07", 4);
constexpr std::uint64_t kEndSize = 22, kLocatorSize = 20, kEnd64Size = 56, kCentralSize = 46, kLocalSize = 30;
constexpr std::uint32_t kIn64 = 0xffffffff;  // "the number is in the zip64 record"

// Takes the 64-bit numbers that stand for saturated 32-bit ones, in the order the format gives them.
void read_zip64_extra(std::string_view extra, ZipEntry& entry, const Refusal& refuse) {
  ByteReader in(extra, refuse);
  while (in.left() >= 4) {
    const std::uint16_t id = in.u16();
    const std::string_view body = in.take(in.u16());
    if (id != 1) continue;
    ByteReader numbers(body, refuse);
    for (std::uint64_t* field : {&entry.size, &entry.compressed_size, &entry.header})
      if (*field == kIn64) *field = numbers.u64();
    return;
  }
}

ZipEntry read_central_header(ByteReader& in, const Refusal& refuse) {
  if (in.take(4) != kCentralHeader) refuse("the zip directory is damaged", kDamaged);
  in.skip(4);  // versions
  const std::uint16_t flags = in.u16();
  ZipEntry entry;
  entry.method = in.u16();
  in.skip(4);  // time and date
  entry.crc = in.u32();
  entry.compressed_size = in.u32();
  entry.size = in.u32();
  const std::uint16_t name = in.u16(), extra = in.u16(), comment = in.u16();
  in.skip(8);  // disk and attributes
  entry.header = in.u32();
  entry.name = in.take(name);
  const Refusal refuse_entry = refuse.about(entry.name);
  read_zip64_extra(in.take(extra), entry, refuse_entry);
  in.skip(comment);
  if (flags & 1) refuse_entry("the entry is encrypted");
  if (entry.method != 0 && entry.method != 8)
    refuse_entry("compression method " + std::to_string(entry.method) + " is not supported",
                 "torch.save writes uncompressed archives: save it again with PyTorch.");
  if (entry.method == 0 && entry.size != entry.compressed_size) refuse_entry("the entry gives two sizes", kDamaged);
  return entry;
}

}  // namespace

bool ZipArchive::looks_like_zip(std::string_view bytes) noexcept {
  return bytes.substr(0, 4) == kLocalHeader || bytes.substr(0, 4) == kEnd;
}

ZipArchive::ZipArchive(std::string_view bytes, Refusal refuse, std::size_t max_entries)
    : bytes_(bytes), refuse_(std::move(refuse)) {
  const Directory directory = find_directory();
  if (directory.entries > max_entries)
    refuse_("the archive claims " + std::to_string(directory.entries) + " entries; at most " +
            std::to_string(max_entries) + " are read");
  read_directory(directory);
  forbid_overlap(directory.offset);
}

const ZipEntry* ZipArchive::find(std::string_view name) const noexcept {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &entries_[found->second];
}

ZipArchive::Directory ZipArchive::find_directory() const {
  // The end record is the last thing in the file, before a comment of at most 64 KiB.
  std::size_t at = bytes_.size() < kEndSize ? std::string_view::npos : bytes_.rfind(kEnd, bytes_.size() - kEndSize);
  for (; at != std::string_view::npos; at = at == 0 ? std::string_view::npos : bytes_.rfind(kEnd, at - 1)) {
    if (bytes_.size() - at > kEndSize + 0xffff) at = std::string_view::npos;
    if (at == std::string_view::npos) break;
    ByteReader comment(bytes_, refuse_, at + kEndSize - 2);
    if (comment.u16() == comment.left()) break;
  }
  if (at == std::string_view::npos) refuse_("truncated: the zip archive has no directory at its end", kDamaged);

  ByteReader in(bytes_, refuse_, at + 4);
  const std::uint16_t disk = in.u16(), directory_disk = in.u16();
  Directory directory;
  in.skip(2);
  directory.entries = in.u16();
  directory.size = in.u32();
  directory.offset = in.u32();
  if (disk != directory_disk || (disk != 0 && disk != 0xffff)) refuse_("the zip archive is split over several files");
  std::uint64_t end = at;
  if (at >= kLocatorSize && bytes_.substr(at - kLocatorSize, 4) == kLocator64) {
    directory = zip64_directory(at - kLocatorSize, directory);
    end = at - kLocatorSize;
  }
  if (directory.offset > end || directory.size > end - directory.offset)
    refuse_("the zip directory lies outside the file", kDamaged);
  return directory;
}

ZipArchive::Directory ZipArchive::zip64_directory(std::uint64_t locator, const Directory& directory) const {
  ByteReader in(bytes_, refuse_, locator + 8);
  const std::uint64_t at = in.u64();
  if (at > locator || locator - at < kEnd64Size || bytes_.substr(at, 4) != kEnd64)
    refuse_("the zip64 end record is damaged", kDamaged);
  ByteReader record(bytes_, refuse_, at + 32);
  Directory wide;
  wide.entries = record.u64();
  wide.size = record.u64();
  wide.offset = record.u64();
  const bool agree = (directory.entries == 0xffff || directory.entries == wide.entries) &&
                     (directory.size == kIn64 || directory.size == wide.size) &&
                     (directory.offset == kIn64 || directory.offset == wide.offset);
  if (!agree) refuse_("the zip archive has two end records that disagree", kDamaged);
  return wide;
}

void ZipArchive::read_directory(const Directory& directory) {
  ByteReader in(bytes_.substr(directory.offset, directory.size), refuse_);
  if (directory.entries > directory.size / kCentralSize) refuse_("the zip directory is damaged", kDamaged);
  entries_.reserve(directory.entries);
  for (std::uint64_t i = 0; i < directory.entries; ++i) {
    entries_.push_back(read_central_header(in, refuse_));
    const ZipEntry& entry = entries_.back();
    if (!by_name_.emplace(entry.name, entries_.size() - 1).second)
      refuse_.about(entry.name)("two entries have this name");
    // Deflate cannot expand more than 1032 times (zlib's manual): a larger claim is a lie, found before allocating.
    if (entry.method == 8 && entry.size / 1032 > entry.compressed_size + 1)
      refuse_.about(entry.name)("the entry claims to expand to " + std::to_string(entry.size) +
                                " bytes, which deflate cannot do");
  }
}

void ZipArchive::forbid_overlap(std::uint64_t directory_offset) {
  std::vector<std::size_t> order(entries_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [this](std::size_t a, std::size_t b) { return entries_[a].header < entries_[b].header; });
  std::uint64_t limit = directory_offset;
  for (std::size_t i = order.size(); i-- > 0;) {
    ZipEntry& entry = entries_[order[i]];
    entry.limit = limit;
    const std::uint64_t fixed = kLocalSize + entry.name.size();
    if (entry.header > limit || limit - entry.header < fixed || limit - entry.header - fixed < entry.compressed_size)
      refuse_.about(entry.name)("the entry lies outside the file or overlaps another one", kDamaged);
    limit = entry.header;
  }
}

std::string_view ZipArchive::raw(const ZipEntry& entry) const {
  const Refusal refuse = refuse_.about(entry.name);
  ByteReader in(bytes_.substr(0, entry.limit), refuse, entry.header);
  if (in.take(4) != kLocalHeader) refuse("the entry's header is damaged", kDamaged);
  in.skip(22);
  const std::uint16_t name = in.u16(), extra = in.u16();
  if (in.take(name) != entry.name) refuse("the entry has another name in its own header", kDamaged);
  in.skip(extra);
  return in.take(entry.compressed_size);
}

std::string_view ZipArchive::stored(const ZipEntry& entry) const { return raw(entry); }

std::string ZipArchive::inflate(const ZipEntry& entry) const {
  const Refusal refuse = refuse_.about(entry.name);
  const std::string_view packed = raw(entry);
  std::string content(entry.size, '\0');
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) refuse("zlib could not start");
  constexpr std::size_t kChunk = std::numeric_limits<uInt>::max();
  std::size_t in_done = 0, out_done = 0;
  int status = Z_OK;
  while (status == Z_OK) {  // zlib counts in 32 bits: feed it in pieces
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data() + in_done));
    stream.avail_in = static_cast<uInt>(std::min(kChunk, packed.size() - in_done));
    stream.next_out = reinterpret_cast<Bytef*>(content.data() + out_done);
    stream.avail_out = static_cast<uInt>(std::min(kChunk, content.size() - out_done));
    const uInt given = stream.avail_in, room = stream.avail_out;
    status = ::inflate(&stream, Z_NO_FLUSH);
    in_done += given - stream.avail_in;
    out_done += room - stream.avail_out;
    if (status == Z_OK && given == stream.avail_in && room == stream.avail_out) status = Z_BUF_ERROR;
  }
  inflateEnd(&stream);
  if (status != Z_STREAM_END || out_done != content.size())
    refuse("the compressed data is damaged, or its size is not what the directory says", kDamaged);
  check_crc(entry, content);
  return content;
}

void ZipArchive::check_crc(const ZipEntry& entry, std::string_view content) const {
  const uLong crc = crc32_z(0, reinterpret_cast<const Bytef*>(content.data()), content.size());
  if (crc != entry.crc) refuse_.about(entry.name)("the checksum does not match: the data is damaged", kDamaged);
}

}  // namespace ferry
