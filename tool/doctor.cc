// ferry doctor: what this machine has, what is missing, what that costs, and the command that repairs it.
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli.h"
#include "console.h"
#include "ferry/ferry.h"
#include "lineup.h"
#include "plan_text.h"
#include "python_peers.h"
#include "text.h"

namespace ferry::tool {
namespace {

// Instruction sets that make a difference to CPU engines, in the order of age.
std::vector<std::string> cpu_features() {
  static const std::vector<std::pair<const char*, const char*>> kKnown = {{"avx2", "AVX2"},
                                                                          {"fma", "FMA"},
                                                                          {"avx512f", "AVX-512"},
                                                                          {"avx_vnni", "AVX-VNNI"},
                                                                          {"avx512_vnni", "AVX-512 VNNI"},
                                                                          {"amx_int8", "AMX INT8"},
                                                                          {"asimddp", "NEON dot product"}};
  std::ifstream file("/proc/cpuinfo");
  std::vector<std::string> found;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("flags") && !line.starts_with("Features")) continue;
    std::istringstream words(line);
    std::vector<std::string> flags{std::istream_iterator<std::string>(words), {}};
    for (const auto& [flag, name] : kKnown)
      if (std::find(flags.begin(), flags.end(), flag) != flags.end()) found.emplace_back(name);
    break;
  }
  return found;
}

// A display adapter or accelerator on the bus, by PCI class: there may be one that no driver serves.
std::vector<std::string> pci_accelerators() {
  std::vector<std::string> found;
  std::error_code error;
  for (const auto& device : std::filesystem::directory_iterator("/sys/bus/pci/devices", error)) {
    const auto read = [&](const char* name) {
      std::string text;
      std::ifstream(device.path() / name) >> text;
      return text;
    };
    const std::string pci_class = read("class"), vendor = read("vendor");
    if (vendor == "0x10de" && (pci_class.starts_with("0x0300") || pci_class.starts_with("0x0302")))
      found.push_back(fmt::format("{}:{}", vendor.substr(2), read("device").substr(2)));
  }
  return found;
}

std::string gpu_text(const Json& gpu) {
  std::string text = gpu.value("name", "?");
  if (gpu.contains("compute_capability"))
    text += ", compute capability " + gpu["compute_capability"].get<std::string>();
  if (gpu.contains("memory_bytes")) text += ", " + human_bytes(gpu["memory_bytes"].get<double>());
  if (gpu.contains("driver")) text += ", driver " + gpu["driver"].get<std::string>();
  if (gpu.contains("cuda")) text += " (CUDA " + gpu["cuda"].get<std::string>() + ")";
  return printable(text);
}

Rows machine_rows(const Json& machine) {
  const Json cpu = machine.value("cpu", Json::object());
  const std::string cores = cpu.contains("cores") ? fmt::format("{} cores, ", cpu["cores"].get<int>()) : "";
  Rows rows = {{"system", machine.value("os", "") + ", " + machine.value("kernel", "")},
               {"cpu", fmt::format("{}, {}{} threads", cpu.value("model", "unknown"), cores, cpu.value("threads", 0))},
               {"", fmt::format("{}", fmt::join(cpu_features(), ", "))},
               {"memory", human_bytes(machine.value("memory_bytes", 0.0))}};
  const Json gpus = machine.value("gpus", Json::array());
  for (const Json& gpu : gpus) rows.emplace_back("gpu", gpu_text(gpu));
  if (!gpus.empty()) return rows;
  const auto on_bus = pci_accelerators();
  rows.emplace_back("gpu", on_bus.empty() ? "none"
                                          : fmt::format("there is one on the PCI bus ({}), but no engine can use it; "
                                                        "see the reasons below",
                                                        fmt::join(on_bus, ", ")));
  return rows;
}

struct Verdict {
  std::string word;
  Style style;
};

Verdict verdict_of(const BackendInfo& info) {
  if (info.usable) return {"ready", Style::kGreen};
  if (info.can_build) return {"builds only", Style::kYellow};
  return {info.present ? "not usable" : "missing", Style::kRed};
}

std::string engine_text(const BackendInfo& info) {
  const Verdict verdict = verdict_of(info);
  const std::string sdk = info.display_name + (info.version.empty() ? "" : " " + info.version);
  std::string title = "  " + console().out_style(verdict.style, padded(verdict.word, 11)) + "  " +
                      console().out_style(Style::kBold, printable(sdk)) + "  (" + info.name + ")\n";
  Rows rows = {{"gives", printable(info.gives)}};
  if (!info.usable) {
    rows.emplace_back("why not", printable(info.reason));
    rows.emplace_back("repair", printable(info.remedy));
  }
  if (!info.opens.empty())
    rows.emplace_back("takes", fmt::format("{} in {}{}", fmt::join(info.opens, ", "), fmt::join(info.precisions, ", "),
                                           info.reference ? "; the reference of comparisons" : ""));
  rows.emplace_back("library", printable(info.library));
  rows.emplace_back("module", printable(info.module_path));
  constexpr std::size_t kIndent = 13, kWidth = 100;
  std::istringstream lines(key_values(rows, kWidth - kIndent));
  for (std::string line; std::getline(lines, line);) title += std::string(kIndent, ' ') + line + "\n";
  return title;
}

Json engine_json(const BackendInfo& info) {
  Json devices = Json::array();
  for (const Device& device : info.devices)
    devices.push_back({{"index", device.index},
                       {"kind", device.kind},
                       {"name", device.name},
                       {"compute_capability", device.compute_capability},
                       {"driver", device.driver},
                       {"cuda", device.cuda},
                       {"memory_bytes", device.memory_bytes}});
  return {{"name", info.name},
          {"display_name", info.display_name},
          {"gives", info.gives},
          {"present", info.present},
          {"usable", info.usable},
          {"can_build", info.can_build},
          {"builds", info.builds},
          {"reference", info.reference},
          {"kind", info.kind},
          {"opens", info.opens},
          {"precisions", info.precisions},
          {"reason", info.reason},
          {"remedy", info.remedy},
          {"library", info.library},
          {"version", info.version},
          {"module", info.module_path},
          {"devices", devices}};
}

// Asks Python for installed versions without importing anything big.
Json python_json() {
  const std::string program = python_program();
  try {
    Worker worker({program, python_folder() + "/ferry_versions.py"}, false);
    Json answer = worker.ask({{"do", "versions"}});
    answer["program"] = program;
    return answer;
  } catch (const Error& error) {
    if (error.stage() == Stage::kInterrupted) throw;
    return {{"ok", false}, {"program", program}, {"cause", error.cause()}};
  }
}

std::string python_text(const Json& python) {
  if (!python.value("ok", false))
    return fmt::format("{}: not usable. Only needed for ferry compare --peers", python.value("program", "python3"));
  const std::string program = python.value("executable", python.value("program", "python3"));
  std::string text = fmt::format("{} ({})", python.value("python", "?"), printable(program));
  for (const char* package : {"torch", "numpy"}) {
    const Json version = python.value(package, Json());
    text += fmt::format(", {} {}", package, version.is_string() ? version.get<std::string>() : "missing");
    if (version.is_null())
      return text + fmt::format("; for ferry compare --peers: {} -m pip install torch numpy", printable(program));
  }
  return text;
}

// What a newcomer can do now, in one line. As in `compare`, engines of the CPU stand aside where there is a GPU.
std::string conclusion(const std::vector<BackendInfo>& engines) {
  const auto usable_on_gpu = [](const BackendInfo& info) { return info.usable && on_gpu(info); };
  const bool gpu = std::any_of(engines.begin(), engines.end(), usable_on_gpu);
  std::vector<std::string> ready;
  std::string reference;
  for (const BackendInfo& info : engines) {
    if (!info.usable || (gpu && !on_gpu(info))) continue;
    if (info.reference && reference.empty()) reference = info.display_name;
    if (!info.reference) ready.push_back(info.display_name);
  }
  if (ready.empty() && reference.empty()) return "Nothing here can run a network yet: repair one engine above.";
  if (ready.empty()) return reference + " can run networks, but there is nothing to compare it with yet.";
  return fmt::format("Ready: ferry compare resnet101.pth runs {}{}.", fmt::join(ready, ", "),
                     reference.empty() ? ", without a reference engine" : " against " + reference);
}

int doctor(const Context& context) {
  const std::vector<BackendInfo> engines = Backend::list();
  const Json machine = Json::parse(machine_json(engines));
  const Json python = python_json();
  const bool ready = std::any_of(engines.begin(), engines.end(), [](const BackendInfo& info) { return info.usable; });
  Json list = Json::array();
  for (const BackendInfo& info : engines) list.push_back(engine_json(info));
  context.emit({{"ferry", FERRY_VERSION},
                {"machine", machine},
                {"cpu_features", cpu_features()},
                {"engines", list},
                {"python", python},
                {"cache", cache_directory()},
                {"module_search_path", backend_search_path()},
                {"ready", ready}});
  context.print(console().out_style(Style::kBold, "Machine") + "\n" + key_values(machine_rows(machine)));
  context.print(key_values({{"python", python_text(python)}, {"cache", cache_directory()}}));
  context.print("\n" + console().out_style(Style::kBold, "Engines") + "  (best first)\n");
  for (const BackendInfo& info : engines) context.print(engine_text(info));
  context.print("\n" + wrapped(conclusion(engines), 96, 2) + "\n");
  return ready ? kGood : kFailed;
}

}  // namespace

void add_doctor(Cli& cli) {
  cli.add_verb("doctor", "Say what this machine has, what is missing, and how to get it", doctor);
}

}  // namespace ferry::tool
