#include "ferry/fetch.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "base/files.h"
#include "ferry/error.h"
#include "fetch/download.h"

namespace ferry {
namespace {

namespace fs = std::filesystem;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string folder_of(const FetchOptions& options) {
  return options.folder.empty() ? cache_path("weights") : options.folder;
}

std::string url_of(const PublishedWeights& weights, const FetchOptions& options) {
  std::string base = options.base_url.empty() ? environment("FERRY_WEIGHTS_URL") : options.base_url;
  if (base.empty()) base = "https://download.pytorch.org/models/";
  if (base.back() != '/') base += '/';
  return base + weights.file;
}

// Where torch.hub keeps what it downloaded (torch.hub.get_dir); empty if that cannot be told.
std::string hub_folder() {
  std::string home = environment("TORCH_HOME");
  if (home.empty() && !environment("XDG_CACHE_HOME").empty()) home = environment("XDG_CACHE_HOME") + "/torch";
  if (home.empty() && !environment("HOME").empty()) home = environment("HOME") + "/.cache/torch";
  return home.empty() ? "" : home + "/hub/checkpoints";
}

bool has_published_hash(const PublishedWeights& weights, const std::string& path) {
  return sha256_file(path, Stage::kFetch).starts_with(weights.sha256_start());
}

// Downloads until the hash is right. What an earlier run left may be of another file: then once more from the start.
void complete(const PublishedWeights& weights, const std::string& url, const std::string& target, PartFile& part,
              const FetchOptions& options) {
  const bool resumed = part.size() > 0;
  if (resumed && has_published_hash(weights, part.path())) return;
  download(url, part, options, target);
  if (has_published_hash(weights, part.path())) return;
  if (resumed) {
    part.restart();
    download(url, part, options, target);
    if (has_published_hash(weights, part.path())) return;
  }
  const std::string hash = sha256_file(part.path(), Stage::kFetch);
  fs::remove(part.path());
  throw Error(Stage::kFetch, url,
              "the file's SHA-256 is " + hash.substr(0, 8) + "..., but its name promises " + weights.sha256_start(),
              "The file was changed on the way or at its source; it was deleted. Try again, or another network.");
}

}  // namespace

std::optional<std::string> find_weights(const PublishedWeights& weights, const FetchOptions& options) {
  for (const std::string& folder : {folder_of(options), hub_folder()}) {
    const std::string path = folder + "/" + weights.file;
    std::error_code ignored;
    if (!folder.empty() && fs::is_regular_file(path, ignored) && has_published_hash(weights, path)) return path;
  }
  return std::nullopt;
}

Fetched fetch_weights(const PublishedWeights& weights, const FetchOptions& options) {
  if (const std::optional<std::string> path = find_weights(weights, options))
    return {*path, false, static_cast<std::int64_t>(fs::file_size(*path))};
  const std::string folder = folder_of(options), target = folder + "/" + weights.file;
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw Error(Stage::kFetch, folder, "cannot create the folder: " + error.message());

  PartFile part(target + ".part");
  complete(weights, url_of(weights, options), target, part, options);
  part.flush();
  if (std::rename(part.path().c_str(), target.c_str()) != 0)
    throw Error(Stage::kFetch, target, std::string("cannot rename into place: ") + std::strerror(errno));
  return {target, true, part.size()};
}

}  // namespace ferry
