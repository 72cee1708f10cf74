// torchvision's published weights: which there are, and getting them.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace ferry {

/// One published file, as torchvision/models/resnet.py names it.
struct PublishedWeights {
  std::string network;  // "resnet101"
  std::string set;      // "IMAGENET1K_V1" or "IMAGENET1K_V2"
  std::string file;     // "resnet101-63fe2227.pth": the eight digits are the start of its SHA-256
  double mebibytes = 0;
  double top1 = 0;   // ImageNet-1K accuracy in percent, as torchvision states it
  int resize = 256;  // short side before the centre crop of 224 that this accuracy was measured with

  std::string sha256_start() const;
};

/// All 17 files, networks in torchvision's order; where a network has two sets, V1 comes first.
const std::vector<PublishedWeights>& published_weights();

/// By name: "resnet101" (the set that torchvision uses by default: V2 where there is one), "resnet101:v1",
/// "resnet101:v2", or a published file name. nullptr if it is none of these: then it is a path.
const PublishedWeights* find_published(const std::string& name);

struct FetchOptions {
  std::string base_url;  // empty: $FERRY_WEIGHTS_URL, else https://download.pytorch.org/models/
  std::string folder;    // empty: weights/ in ferry's cache ($XDG_CACHE_HOME/ferry or ~/.cache/ferry)
  /// Bytes so far and in all (0: not known yet). Return false to stop: what has arrived is kept and continued later.
  std::function<bool(std::int64_t done, std::int64_t total)> progress;
  int stall_seconds = 30;  // give up when nothing arrives for so long
};

struct Fetched {
  std::string path;
  bool downloaded = false;  // false: it was there already
  std::int64_t bytes = 0;
};

/// The file if it is on this machine and its SHA-256 begins as published: in `folder`, or in the cache of torch.hub
/// ($TORCH_HOME or ~/.cache/torch), which is only read. Uses no network.
std::optional<std::string> find_weights(const PublishedWeights& weights, const FetchOptions& options = {});

/// Finds or downloads the file. A download goes to FILE.part, continues where an earlier one stopped, is checked and
/// then renamed: FILE is never incomplete or wrong. Throws Error(kFetch), or Error(kInterrupted) when `progress` stops
/// it.
Fetched fetch_weights(const PublishedWeights& weights, const FetchOptions& options = {});

}  // namespace ferry
