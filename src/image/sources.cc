// From what people name to one ordered stream of pictures.
#include "image/sources.h"

#include <fmt/format.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/files.h"
#include "ferry/error.h"

namespace ferry {
namespace {

namespace fs = std::filesystem;
using Source = std::unique_ptr<PictureSource>;

class ItemSource : public PictureSource {
 public:
  explicit ItemSource(std::vector<ImageItem> items) : items_(std::move(items)) {}
  bool next(Picture& into) override {
    if (next_ == items_.size()) return false;
    into.name = items_[next_].path;
    into.label = items_[next_++].label;
    return true;
  }
  std::int64_t total() const override { return static_cast<std::int64_t>(items_.size()); }

 private:
  std::vector<ImageItem> items_;
  std::size_t next_ = 0;
};

class MemorySource : public PictureSource {
 public:
  explicit MemorySource(const std::vector<std::string>& encoded) : encoded_(encoded) {}
  bool next(Picture& into) override {
    if (next_ == encoded_.size()) return false;
    into.name = fmt::format("picture {}", next_);
    into.is_file = false;
    into.bytes = encoded_[next_++];
    return true;
  }
  std::int64_t total() const override { return static_cast<std::int64_t>(encoded_.size()); }

 private:
  const std::vector<std::string>& encoded_;
  std::size_t next_ = 0;
};

class OnePicture : public PictureSource {
 public:
  explicit OnePicture(std::string bytes) : bytes_(std::move(bytes)) {}
  bool next(Picture& into) override {
    if (given_) return false;
    given_ = true;
    into.name = "standard input";
    into.is_file = false;
    into.bytes = std::move(bytes_);
    return true;
  }
  std::int64_t total() const override { return 1; }

 private:
  std::string bytes_;
  bool given_ = false;
};

class Chain : public PictureSource {
 public:
  explicit Chain(std::vector<Source> parts) : parts_(std::move(parts)) {}
  bool next(Picture& into) override {
    for (; at_ < parts_.size(); ++at_)
      if (parts_[at_]->next(into)) return true;
    return false;
  }
  std::int64_t total() const override {
    std::int64_t sum = 0;
    for (const Source& part : parts_) {
      if (part->total() == 0) return 0;
      sum += part->total();
    }
    return sum;
  }

 private:
  std::vector<Source> parts_;
  std::size_t at_ = 0;
};

std::vector<ImageItem> unlabelled(std::vector<std::string> paths) {
  std::vector<ImageItem> items;
  items.reserve(paths.size());
  for (std::string& path : paths) items.push_back({std::move(path), -1});
  return items;
}

Source from_folder(const std::string& folder) {
  std::vector<std::string> paths = pictures_below(folder);
  if (paths.empty())
    throw Error(Stage::kImage, folder, "no pictures", "Pictures are files that end in .jpg, .jpeg, .png or .webp.");
  return pictures_of(unlabelled(std::move(paths)));
}

Source from_lines(const std::string& text, const std::string& name) {
  std::istringstream lines(text);
  std::vector<std::string> paths;
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) paths.push_back(line);
  }
  if (paths.empty()) throw Error(Stage::kImage, name, "no pictures in this list", "Write one path a line.");
  return pictures_of(unlabelled(std::move(paths)));
}

// Empty if it matches nothing or is no pattern.
std::vector<std::string> expand(const std::string& pattern) {
  std::vector<std::string> paths;
  if (pattern.find_first_of("*?[") == std::string::npos) return paths;
  glob_t found{};
  if (::glob(pattern.c_str(), 0, nullptr, &found) == 0) paths.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  return paths;
}

bool is_picture(std::string_view head) {
  using namespace std::string_view_literals;
  return head.starts_with("\xff\xd8\xff"sv) || head.starts_with("\x89PNG"sv) ||
         (head.starts_with("RIFF"sv) && head.size() >= 12 && head.substr(8, 4) == "WEBP"sv);
}

Source from_standard_input() {
  std::string head;
  char block[512];
  while (head.size() < sizeof block) {
    const ssize_t got = ::read(STDIN_FILENO, block, sizeof block - head.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(Stage::kImage, "standard input", std::strerror(errno));
    if (got == 0) break;
    head.append(block, static_cast<std::size_t>(got));
  }
  if (head.empty()) throw Error(Stage::kImage, "standard input", "is empty");
  if (looks_like_archive(head)) return pictures_in_archive("-", std::move(head));
  const bool picture = is_picture(head);
  std::string all = read_rest(STDIN_FILENO, std::move(head), "standard input");
  if (picture) return std::make_unique<OnePicture>(std::move(all));
  if (all.find('\0') != std::string::npos)
    throw Error(Stage::kImage, "standard input", "neither a picture, nor a tar archive, nor a list of files");
  return from_lines(all, "standard input");
}

Source from_file(const std::string& path) {
  char head[512] = {};
  std::ifstream file(path, std::ios::binary);
  file.read(head, sizeof head);
  if (looks_like_archive({head, static_cast<std::size_t>(file.gcount())})) return pictures_in_archive(path);
  return pictures_of({{path, -1}});
}

Source from_input(const std::string& input) {
  std::error_code error;
  if (input == "-") return from_standard_input();
  if (input.starts_with('@')) return from_lines(read_file(input.substr(1), Stage::kImage), input.substr(1));
  if (fs::is_directory(input, error)) return from_folder(input);
  if (fs::is_regular_file(input, error)) return from_file(input);
  std::vector<std::string> matches = expand(input);
  if (!matches.empty()) {
    std::vector<Source> parts;
    parts.reserve(matches.size());
    for (const std::string& match : matches) parts.push_back(from_input(match));
    return std::make_unique<Chain>(std::move(parts));
  }
  if (fs::exists(input, error)) throw Error(Stage::kImage, input, "neither a file nor a folder");
  throw Error(Stage::kImage, input, "there is no such file or folder, and as a pattern it matches nothing");
}

}  // namespace

std::unique_ptr<PictureSource> pictures_of(std::vector<ImageItem> items) {
  return std::make_unique<ItemSource>(std::move(items));
}

std::unique_ptr<PictureSource> pictures_in_memory(const std::vector<std::string>& encoded) {
  return std::make_unique<MemorySource>(encoded);
}

std::unique_ptr<PictureSource> open_pictures(const std::vector<std::string>& inputs) {
  std::vector<Source> parts;
  parts.reserve(inputs.size());
  for (const std::string& input : inputs) parts.push_back(from_input(input));
  return std::make_unique<Chain>(std::move(parts));
}

std::string read_rest(int fd, std::string head, const std::string& name) {
  std::vector<char> block(1 << 18);
  for (;;) {
    const ssize_t got = ::read(fd, block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(Stage::kImage, name, std::strerror(errno));
    if (got == 0) return head;
    head.append(block.data(), static_cast<std::size_t>(got));
    if (head.size() > kLargestFile) throw Error(Stage::kImage, name, "more than 1 GiB");
  }
}

std::string encoded_bytes(Picture& picture) {
  if (!picture.is_file) return std::move(picture.bytes);
  struct stat facts {};
  if (::stat(picture.name.c_str(), &facts) != 0) throw Error(Stage::kImage, picture.name, std::strerror(errno));
  if (!S_ISREG(facts.st_mode)) throw Error(Stage::kImage, picture.name, "not a regular file");
  if (facts.st_size > static_cast<std::int64_t>(kLargestFile))
    throw Error(Stage::kImage, picture.name,
                fmt::format("{} bytes are more than the limit of 1 GiB for a picture", facts.st_size));
  return read_file(picture.name, Stage::kImage);
}

}  // namespace ferry
