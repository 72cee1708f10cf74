// Tar archives through libarchive. Only tar is let in: one format, as few readers of foreign bytes as possible.
#include <fmt/format.h>

#include "ferry/error.h"
#include "image/sources.h"

#ifdef FERRY_HAVE_ARCHIVE
#include <archive.h>
#include <archive_entry.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#endif

namespace ferry {

bool looks_like_archive(std::string_view first) {
  using namespace std::string_view_literals;
  for (const std::string_view packed : {"\x1f\x8b"sv, "BZh"sv,
                                        "\xfd"
                                        "7zXZ\0"sv,
                                        "\x28\xb5\x2f\xfd"sv})
    if (first.starts_with(packed)) return true;
  return first.size() >= 262 && first.substr(257, 5) == "ustar";
}

#ifdef FERRY_HAVE_ARCHIVE

bool tar_available() noexcept { return true; }

namespace {

struct Close {
  void operator()(archive* a) const noexcept { archive_read_free(a); }
};

class ArchiveSource : public PictureSource {
 public:
  ArchiveSource(std::string path, std::string head) : path_(std::move(path)), head_(std::move(head)) {
    archive_.reset(archive_read_new());
    archive* const a = archive_.get();
    if (a == nullptr) throw std::bad_alloc();
    archive_read_support_format_tar(a);
    archive_read_support_filter_gzip(a);
    archive_read_support_filter_bzip2(a);
    archive_read_support_filter_xz(a);
    archive_read_support_filter_zstd(a);
    const int opened = path_ == "-" ? archive_read_open(a, this, nullptr, &ArchiveSource::read_input, nullptr)
                                    : archive_read_open_filename(a, path_.c_str(), 1 << 16);
    if (opened != ARCHIVE_OK) throw Error(Stage::kImage, shown_path(), reason());
  }
  ArchiveSource(const ArchiveSource&) = delete;
  ArchiveSource& operator=(const ArchiveSource&) = delete;

  bool next(Picture& into) override {
    while (!ended_) {
      archive_entry* entry = nullptr;
      const int status = archive_read_next_header(archive_.get(), &entry);
      if (status == ARCHIVE_EOF) break;
      if (status != ARCHIVE_OK && status != ARCHIVE_WARN) return broken_archive(into);
      const char* member = archive_entry_pathname_utf8(entry);
      if (member == nullptr) member = archive_entry_pathname(entry);
      if (member == nullptr || archive_entry_filetype(entry) != AE_IFREG || !looks_like_picture(member)) continue;
      into.name = shown_path() + ":" + member;
      into.is_file = false;
      read_member(archive_entry_size(entry), into);
      return true;
    }
    ended_ = true;
    return false;
  }

 private:
  std::string shown_path() const { return path_ == "-" ? "standard input" : path_; }
  std::string reason() const {
    const char* text = archive_error_string(archive_.get());
    return text == nullptr ? "not a tar archive" : fmt::format("not a readable tar archive: {}", text);
  }

  // What came before stays; what would come after cannot be found.
  bool broken_archive(Picture& into) {
    ended_ = true;
    into.name = shown_path();
    into.is_file = false;
    into.error = reason() + "; pictures after this place are missing";
    return true;
  }

  void read_member(std::int64_t size, Picture& into) {
    if (size < 0 || size > static_cast<std::int64_t>(kLargestFile)) {
      into.error = fmt::format("{} bytes are more than the limit of 1 GiB for a picture", size);
      return;
    }
    into.bytes.resize(static_cast<std::size_t>(size));
    std::size_t have = 0;
    while (have < into.bytes.size()) {
      const la_ssize_t got = archive_read_data(archive_.get(), into.bytes.data() + have, into.bytes.size() - have);
      if (got <= 0) {
        into.error = got == 0 ? "the archive's member ends early" : reason();
        return;
      }
      have += static_cast<std::size_t>(got);
    }
  }

  static la_ssize_t read_input(archive* a, void* self, const void** buffer) {
    auto& source = *static_cast<ArchiveSource*>(self);
    if (!source.head_.empty()) {
      source.given_ = std::move(source.head_);
      source.head_.clear();
      *buffer = source.given_.data();
      return static_cast<la_ssize_t>(source.given_.size());
    }
    const ssize_t got = ::read(STDIN_FILENO, source.block_.data(), source.block_.size());
    if (got < 0) archive_set_error(a, errno, "%s", std::strerror(errno));
    *buffer = source.block_.data();
    return got;
  }

  std::string path_, head_, given_;
  std::array<char, 1 << 16> block_;
  std::unique_ptr<archive, Close> archive_;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<PictureSource> pictures_in_archive(const std::string& path, std::string head) {
  return std::make_unique<ArchiveSource>(path, std::move(head));
}

#else

bool tar_available() noexcept { return false; }

std::unique_ptr<PictureSource> pictures_in_archive(const std::string& path, std::string) {
  throw Error(Stage::kImage, path, "this build of ferry reads no tar archives: libarchive was not there",
              "Unpack it and give the folder, or install libarchive-dev and build again.");
}

#endif

}  // namespace ferry
