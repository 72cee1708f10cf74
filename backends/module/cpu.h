// The CPU as Linux tells it.
#pragma once

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <string>
#include <utility>

namespace ferry::module {

/// The text after "KEY : " in a line of /proc/cpuinfo, if the line is of that key.
inline bool cpuinfo_value(const std::string& line, const std::string& key, std::string& value) {
  if (line.compare(0, key.size(), key) != 0) return false;
  const std::size_t colon = line.find(':');
  if (colon == std::string::npos || line.find_first_not_of(" \t", key.size()) != colon) return false;
  const std::size_t begin = line.find_first_not_of(" \t", colon + 1);
  value = begin == std::string::npos ? "" : line.substr(begin);
  return true;
}

/// "AMD EPYC 9554 64-Core Processor"; "CPU" where the kernel does not tell.
inline std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  std::string value;
  for (std::string line; std::getline(file, line);)
    if (cpuinfo_value(line, "model name", value)) return value;
  return "CPU";
}

/// Physical cores that this process may use: hardware threads of its affinity mask, one per core.
inline int physical_cores() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return 1;
  std::ifstream file("/proc/cpuinfo");
  std::set<std::pair<std::string, std::string>> cores;
  std::string value, package;
  bool allowed = false;
  for (std::string line; std::getline(file, line);) {
    if (cpuinfo_value(line, "processor", value)) allowed = CPU_ISSET(std::stoi(value), &mask) != 0;
    cpuinfo_value(line, "physical id", package);
    if (cpuinfo_value(line, "core id", value) && allowed) cores.insert({package, value});
  }
  const int usable = CPU_COUNT(&mask);
  return cores.empty() ? usable : std::min(static_cast<int>(cores.size()), usable);
}

}  // namespace ferry::module
