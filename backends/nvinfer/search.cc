#include "nvinfer/search.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>

namespace ferry::nvinfer {
namespace {

namespace fs = std::filesystem;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : value;
}

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

void add_if_folder(std::vector<std::string>& folders, const fs::path& path) {
  if (path.empty() || !is_folder(path)) return;
  if (std::find(folders.begin(), folders.end(), path.string()) == folders.end()) folders.push_back(path.string());
}

// <prefix>/lib/python3.N/{site,dist}-packages, newest Python first.
void add_sites_of(std::vector<std::string>& folders, const fs::path& prefix) {
  std::vector<fs::path> pythons;
  std::error_code failed;
  for (fs::directory_iterator it(prefix / "lib", failed), end; !failed && it != end; it.increment(failed)) {
    if (it->path().filename().string().rfind("python3", 0) == 0) pythons.push_back(it->path());
  }
  std::sort(pythons.rbegin(), pythons.rend());
  for (const fs::path& python : pythons) {
    add_if_folder(folders, python / "site-packages");
    add_if_folder(folders, python / "dist-packages");
  }
}

// The prefix of the python3 that the shell would start: /x/bin/python3 -> /x.
fs::path prefix_of_python() {
  std::istringstream path(variable("PATH"));
  for (std::string folder; std::getline(path, folder, ':');) {
    std::error_code ignored;
    if (!folder.empty() && fs::exists(fs::path(folder) / "python3", ignored)) return fs::path(folder).parent_path();
  }
  return {};
}

}  // namespace

std::vector<std::string> python_site_folders() {
  std::vector<std::string> folders;
  std::istringstream extra(variable("PYTHONPATH"));
  for (std::string folder; std::getline(extra, folder, ':');) add_if_folder(folders, folder);
  for (const char* environment : {"VIRTUAL_ENV", "CONDA_PREFIX"}) {
    if (!variable(environment).empty()) add_sites_of(folders, variable(environment));
  }
  if (!variable("HOME").empty()) add_sites_of(folders, fs::path(variable("HOME")) / ".local");
  const fs::path python = prefix_of_python();
  if (!python.empty()) add_sites_of(folders, python);
  add_sites_of(folders, "/usr/local");
  add_sites_of(folders, "/usr");
  return folders;
}

std::vector<std::string> sdk_folders(const SdkPlace& place, const std::string& module_path) {
  std::vector<std::string> folders;
  const fs::path named = variable(place.variable);
  if (!named.empty()) {
    for (const char* below : {"lib", "lib64", "targets/x86_64-linux-gnu/lib"}) add_if_folder(folders, named / below);
    add_if_folder(folders, named);
    return folders;
  }
  add_if_folder(folders, place.deps_folder);
  if (!module_path.empty()) {
    add_if_folder(folders, fs::path(module_path).parent_path() / "deps" / place.package_folder);
  }
  for (const std::string& site : python_site_folders()) add_if_folder(folders, fs::path(site) / place.package_folder);
  folders.emplace_back();
  return folders;
}

}  // namespace ferry::nvinfer
