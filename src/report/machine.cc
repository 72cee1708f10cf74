// The machine that numbers were taken on. What cannot be found out is left out.
#include <sys/utsname.h>
#include <unistd.h>

#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "ferry/report.h"

namespace ferry {
namespace {

using Json = nlohmann::ordered_json;

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(" \t\""), last = text.find_last_not_of(" \t\"");
  return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

// The value of `key` in a file of "key: value" or "key=value" lines.
std::string value_in(const char* path, const std::string& key, char separator) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const auto at = line.find(separator);
    if (at != std::string::npos && trimmed(line.substr(0, at)) == key) return trimmed(line.substr(at + 1));
  }
  return {};
}

// Distinct (package, core) pairs: hyper-threads count once.
int physical_cores() {
  std::ifstream file("/proc/cpuinfo");
  std::set<std::string> cores;
  std::string package;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("physical id")) package = line;
    if (line.starts_with("core id")) cores.insert(package + line);
  }
  return static_cast<int>(cores.size());
}

Json cpu_json() {
  Json cpu;
  const std::string model = value_in("/proc/cpuinfo", "model name", ':');
  if (!model.empty()) cpu["model"] = model;
  if (const int cores = physical_cores(); cores > 0) cpu["cores"] = cores;
  cpu["threads"] = ::sysconf(_SC_NPROCESSORS_ONLN);
  return cpu;
}

Json device_json(const Device& d) {
  Json json = {{"kind", d.kind}, {"name", d.name}, {"index", d.index}};
  if (!d.compute_capability.empty()) json["compute_capability"] = d.compute_capability;
  if (!d.driver.empty()) json["driver"] = d.driver;
  if (!d.cuda.empty()) json["cuda"] = d.cuda;
  if (d.memory_bytes > 0) json["memory_bytes"] = d.memory_bytes;
  return json;
}

Json backend_json(const BackendInfo& b) {
  Json json = {{"name", b.name}, {"usable", b.usable}};
  if (!b.version.empty()) json["version"] = b.version;
  if (!b.usable) json["reason"] = b.reason;
  return json;
}

// The same GPU seen through several backends is one device.
Json gpus_json(const std::vector<BackendInfo>& backends) {
  Json gpus = Json::array();
  std::set<std::pair<int, std::string>> seen;
  for (const BackendInfo& backend : backends)
    for (const Device& device : backend.devices)
      if (device.kind == "gpu" && seen.emplace(device.index, device.name).second) gpus.push_back(device_json(device));
  return gpus;
}

}  // namespace

std::string machine_json(const std::vector<BackendInfo>& backends) {
  Json json;
  json["cpu"] = cpu_json();
  const long pages = ::sysconf(_SC_PHYS_PAGES), page = ::sysconf(_SC_PAGE_SIZE);
  if (pages > 0 && page > 0) json["memory_bytes"] = static_cast<std::int64_t>(pages) * page;
  const std::string os = value_in("/etc/os-release", "PRETTY_NAME", '=');
  if (!os.empty()) json["os"] = os;
  if (utsname name{}; ::uname(&name) == 0) json["kernel"] = std::string(name.sysname) + " " + name.release;
  json["ferry"] = FERRY_VERSION;
  json["gpus"] = gpus_json(backends);
  json["backends"] = Json::array();
  for (const BackendInfo& backend : backends) json["backends"].push_back(backend_json(backend));
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string timestamp() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[32];
  const std::size_t size = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc);
  return {text, size};
}

}  // namespace ferry
