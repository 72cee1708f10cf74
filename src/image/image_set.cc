// Finding pictures: a label file, class folders, or whatever lies below a folder.
#include "ferry/image_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <sstream>

#include "base/files.h"
#include "ferry/error.h"
#include "image/sources.h"

namespace ferry {
namespace {

namespace fs = std::filesystem;

void require_folder(const std::string& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error))
    throw Error(Stage::kImage, folder, error ? error.message() : "not a folder",
                "Give the folder that holds the pictures.");
}

// `a.jpg,12` or `a.jpg 12`; the class is what follows the last comma or blank. Nothing for any other line.
std::optional<ImageItem> parse_line(std::string_view line, const fs::path& folder) {
  const std::size_t cut = line.find_last_of(", \t");
  if (cut == std::string_view::npos) return std::nullopt;
  int label = -1;
  const char* const end = line.data() + line.size();
  const auto [stop, status] = std::from_chars(line.data() + cut + 1, end, label);
  const std::size_t last = line.find_last_not_of(", \t", cut);
  if (status != std::errc() || stop != end || label < 0 || last == std::string_view::npos) return std::nullopt;
  return ImageItem{(folder / line.substr(0, last + 1)).string(), label};
}

ImageSet from_label_file(const std::string& folder, const std::string& file) {
  ImageSet set;
  set.layout = "label file";
  set.labelled = true;
  std::istringstream text(read_file(file, Stage::kImage));
  int number = 0;
  for (std::string line; std::getline(text, line);) {
    ++number;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty() || line.front() == '#') continue;
    std::optional<ImageItem> item = parse_line(line, folder);
    if (!item && number == 1) continue;  // a heading
    if (!item)
      throw Error(Stage::kImage, fmt::format("{}:{}", file, number),
                  fmt::format("'{}' is not `file,class number`", line));
    set.items.push_back(std::move(*item));
  }
  return set;
}

// ImageNet's validation folder: nothing but class folders on top; their sorted names are the classes.
std::vector<fs::path> class_folders(const std::string& folder) {
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory()) folders.push_back(entry.path());
    if (looks_like_picture(entry.path().string())) return {};
  }
  std::sort(folders.begin(), folders.end());
  return folders.size() < 2 ? std::vector<fs::path>{} : folders;
}

ImageSet set_from_folder(const std::string& folder) {
  ImageSet set;
  const std::vector<fs::path> classes = class_folders(folder);
  set.labelled = !classes.empty();
  set.layout = set.labelled ? "class folders" : "flat folder";
  for (std::size_t c = 0; c < classes.size(); ++c)
    for (std::string& path : pictures_below(classes[c].string()))
      set.items.push_back({std::move(path), static_cast<int>(c)});
  if (classes.empty())
    for (std::string& path : pictures_below(folder)) set.items.push_back({std::move(path), -1});
  return set;
}

}  // namespace

bool looks_like_picture(const std::string& name) {
  std::string extension = fs::path(name).extension().string();
  for (char& c : extension) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png" || extension == ".webp";
}

std::vector<std::string> pictures_below(const std::string& folder) {
  std::vector<std::string> paths;
  const auto options = fs::directory_options::follow_directory_symlink | fs::directory_options::skip_permission_denied;
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, options, error), end; it != end; it.increment(error)) {
    if (error) throw Error(Stage::kImage, folder, error.message());
    if (it.depth() > 32) it.disable_recursion_pending();  // a loop of links
    std::error_code ignored;
    if (looks_like_picture(it->path().string()) && it->is_regular_file(ignored)) paths.push_back(it->path().string());
  }
  if (error) throw Error(Stage::kImage, folder, error.message());
  std::sort(paths.begin(), paths.end());
  return paths;
}

ImageSet find_images(const std::string& folder, const std::string& labels_csv) {
  require_folder(folder);
  ImageSet set = labels_csv.empty() ? set_from_folder(folder) : from_label_file(folder, labels_csv);
  if (set.items.empty())
    throw Error(Stage::kImage, labels_csv.empty() ? folder : labels_csv, "no pictures",
                "Pictures are files that end in .jpg, .jpeg, .png or .webp.");
  return set;
}

}  // namespace ferry
