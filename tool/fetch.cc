// ferry fetch NAME: torchvision's published weights.
#include "fetch.h"

#include <fmt/core.h>

#include <memory>

#include "cli.h"
#include "console.h"
#include "ferry/error.h"
#include "ferry/fetch.h"
#include "progress.h"
#include "text.h"

namespace ferry::tool {
namespace {

struct FetchFlags {
  std::vector<std::string> names;
  bool list = false;
};

const PublishedWeights& published(const std::string& name) {
  if (const PublishedWeights* found = find_published(name)) return *found;
  throw Error(Stage::kUsage, name, "there are no published weights of that name", "ferry fetch --list shows them all.");
}

Fetched download(const PublishedWeights& weights, const Context& context) {
  Job job(context, fmt::format("fetching {} ({:.0f} MiB)", weights.file, weights.mebibytes));
  FetchOptions options;
  options.progress = [progress = job.progress()](std::int64_t done, std::int64_t total) {
    return progress("", done, total);
  };
  return fetch_weights(weights, options);
}

Json weights_json(const PublishedWeights& weights) {
  return {{"network", weights.network},     {"set", weights.set},   {"file", weights.file},
          {"mebibytes", weights.mebibytes}, {"top1", weights.top1}, {"resize", weights.resize}};
}

int list_all(const Context& context) {
  Json json = Json::array();
  std::vector<std::vector<std::string>> rows = {{"name", "file", "MiB", "top-1", "here"}};
  for (const PublishedWeights& weights : published_weights()) {
    const auto here = find_weights(weights);
    json.push_back(weights_json(weights));
    json.back()["path"] = here ? Json(*here) : Json();
    rows.push_back({weights.network + (weights.set.ends_with("V1") ? ":v1" : ":v2"), weights.file,
                    fmt::format("{:.0f}", weights.mebibytes), fmt::format("{:.2f} %", weights.top1),
                    here ? "yes" : "-"});
  }
  context.emit(json);
  context.print(table(rows, "llrrl"));
  context.print("\nA name without :v1 or :v2 means the newer set.\n");
  return kGood;
}

int fetch(const FetchFlags& options, const Context& context) {
  if (options.list) return list_all(context);
  if (options.names.empty()) throw Error(Stage::kUsage, "", "which network?", "For example: ferry fetch resnet101");
  for (const std::string& name : options.names) published(name);  // refuse before the first download
  Json json = Json::array();
  for (const std::string& name : options.names) {
    const PublishedWeights& weights = published(name);
    const Fetched fetched = download(weights, context);
    json.push_back(weights_json(weights));
    json.back()["path"] = fetched.path;
    json.back()["downloaded"] = fetched.downloaded;
    context.print(fmt::format("{}: {} {}, top-1 {:.2f} % on ImageNet, {}\n",
                              console().out_style(Style::kBold, fetched.path), weights.network, weights.set,
                              weights.top1, fetched.downloaded ? "SHA-256 as published" : "was here already"));
  }
  context.emit(json);
  return kGood;
}

}  // namespace

std::string fetch_with_progress(const std::string& name, const Context& context) {
  const PublishedWeights& weights = published(name);
  if (const auto here = find_weights(weights)) return *here;
  return download(weights, context).path;
}

void add_fetch(Cli& cli) {
  auto options = std::make_shared<FetchFlags>();
  CLI::App* verb = cli.add_verb("fetch", "Download torchvision's published weights of a network",
                                [options](const Context& context) { return fetch(*options, context); });
  verb->add_option("NAME", options->names, "resnet101, resnet50:v1, ... (several are allowed)");
  verb->add_flag("--list", options->list, "Show what there is and what is on this machine");
}

}  // namespace ferry::tool
