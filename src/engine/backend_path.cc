// Where modules and their facts are.
#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/backend_module.h"

namespace ferry {
namespace {

namespace fs = std::filesystem;

/// The folder of the program, or of libferry.so, that this code is part of.
fs::path own_folder() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&find_module), &info) == 0 || info.dli_fname == nullptr) return {};
  std::error_code ignored;
  fs::path file = fs::canonical(info.dli_fname, ignored);
  // A program found through $PATH has no folder in its name.
  if (file.empty()) file = fs::canonical("/proc/self/exe", ignored);
  return file.parent_path();
}

std::vector<std::string> split_path(const std::string& text) {
  std::vector<std::string> folders;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(':', begin), text.size());
    if (end > begin) folders.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return folders;
}

ModuleFacts facts_from(const nlohmann::json& json) {
  ModuleFacts facts;
  facts.info.name = json.at("name").get<std::string>();
  read_description(json.dump(), facts.info);
  facts.info.gives = json.value("gives", "");
  facts.info.remedy = json.value("remedy", "");
  facts.preference = json.value("preference", facts.preference);
  facts.test = json.value("test", false);
  return facts;
}

void add_facts_of(const fs::path& folder, std::vector<ModuleFacts>& all) {
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().extension() != ".json") continue;
    std::ifstream file(entry.path());
    const nlohmann::json json = nlohmann::json::parse(file, nullptr, false);
    if (!json.is_object() || json.value("name", "") != entry.path().stem()) continue;
    const auto known = [&](const ModuleFacts& f) { return f.info.name == entry.path().stem(); };
    if (std::none_of(all.begin(), all.end(), known)) all.push_back(facts_from(json));
  }
}

}  // namespace

std::vector<std::string> backend_search_path() {
  std::vector<std::string> path;
  std::error_code ignored;
  if (const char* chosen = std::getenv("FERRY_BACKEND_PATH")) path = split_path(chosen);
  if (const fs::path own = own_folder(); !own.empty()) {
    // Of the program in bin/, of libferry.so in lib/, of libferry.so in lib/<architecture>/.
    for (const fs::path& folder : {own.parent_path() / "lib" / "ferry", own / "ferry", own.parent_path() / "ferry"})
      if (fs::is_directory(folder, ignored)) path.push_back(folder.string());
  }
  path.push_back(FERRY_BUILD_MODULES);
  std::vector<std::string> unique;
  for (const std::string& folder : path)
    if (std::find(unique.begin(), unique.end(), folder) == unique.end()) unique.push_back(folder);
  return unique;
}

std::vector<ModuleFacts> module_facts(const std::vector<std::string>& path) {
  std::vector<ModuleFacts> all;
  for (const std::string& folder : path) {
    try {
      add_facts_of(folder, all);
    } catch (const std::exception&) {
      continue;  // a damaged facts file hides no module: a module that loads describes itself
    }
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const ModuleFacts& a, const ModuleFacts& b) { return a.preference < b.preference; });
  return all;
}

std::string find_module(const std::string& name, const std::vector<std::string>& path) {
  // A name goes into a file name: letters, digits and underscores only.
  if (name.empty() || name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") != std::string::npos) return {};
  std::error_code ignored;
  for (const std::string& folder : path)
    if (const fs::path file = fs::path(folder) / ("libferry_" + name + ".so"); fs::exists(file, ignored))
      return file.string();
  return {};
}

}  // namespace ferry
