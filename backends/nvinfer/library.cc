#include "nvinfer/library.h"

#include <filesystem>

#include "cuda_support/shared_library.h"
#include "nvinfer/logger.h"
#include "nvinfer/plan_header.h"
#include "nvinfer/search.h"

namespace ferry::nvinfer {
namespace {

int anchor = 0;  // its address tells where this module was loaded from

struct Found {
  SharedLibrary library;
  std::string tried;  // what the loader said of each place where the file exists
};

Found open_first(const std::vector<std::string>& folders, const char* name) {
  Found found;
  for (const std::string& folder : folders) {
    found.library = SharedLibrary::open(folder.empty() ? name : folder + "/" + name);
    if (found.library.is_open()) break;
    const bool absent = found.library.error().find("No such file") != std::string::npos;
    if (!absent) found.tried += (found.tried.empty() ? "" : "; ") + found.library.error();
  }
  return found;
}

// The same library with another major version in its name, so that "not found" can say what is there instead.
std::string other_version(const std::vector<std::string>& folders) {
  const std::string name = sdk::kLibrary;
  const std::string stem = name.substr(0, name.rfind('.') + 1);
  for (const std::string& folder : folders) {
    for (int major = 1; major <= 20; ++major) {
      const std::string path = folder + "/" + stem + std::to_string(major);
      std::error_code ignored;
      if (!folder.empty() && path != folder + "/" + name && std::filesystem::exists(path, ignored)) return path;
    }
  }
  return {};
}

std::string not_found(const Found& runtime, const std::vector<std::string>& folders) {
  std::string reason = std::string(sdk::kLibrary) + " was not found";
  if (!runtime.tried.empty()) return reason + " in working order: " + runtime.tried;
  if (const std::string other = other_version(folders); !other.empty()) {
    reason += "; there is " + other + ", but this module was compiled for version " + sdk::kHeaderVersion;
  }
  return reason;
}

// getInferLibVersion() exists in every version; the parts since TensorRT 10 (10.6) and RTX 1.0.
std::array<int, 4> read_version(const SharedLibrary& library) {
  std::array<int, 4> version{};
  const char* names[] = {"getInferLibMajorVersion", "getInferLibMinorVersion", "getInferLibPatchVersion",
                         "getInferLibBuildVersion"};
  for (std::size_t i = 0; i < version.size(); ++i) {
    if (auto get = reinterpret_cast<int32_t (*)()>(library.symbol(names[i]))) version[i] = get();
  }
  return version;
}

void refuse(Library& result, std::string reason) {
  result.reason = std::move(reason);
  result.remedy = sdk::remedy();
}

// The classes' layout may change with the minor version, so another one would crash rather than fail.
void check_version(Library& result) {
  if (result.version[0] == NV_TENSORRT_MAJOR && result.version[1] == NV_TENSORRT_MINOR) return;
  refuse(result, "this module was compiled for " + std::string(sdk::kDisplayName) + " " + sdk::kHeaderVersion +
                     ", the library " + result.path + " is version " + version_text(result.version));
}

Library load() {
  Library result;
  const SdkPlace place{sdk::kVariable, sdk::kPackageFolder, FERRY_SDK_DEPS};
  const auto folders = sdk_folders(place, SharedLibrary::path_of(&anchor));
  const Found runtime = open_first(folders, sdk::kLibrary);
  if (!runtime.library.is_open()) {
    refuse(result, not_found(runtime, folders));
    return result;
  }
  result.create_builder = runtime.library.symbol("createInferBuilder_INTERNAL");
  result.create_runtime = runtime.library.symbol("createInferRuntime_INTERNAL");
  result.path = SharedLibrary::path_of(result.create_runtime);
  result.version = read_version(runtime.library);
  check_version(result);
  if (!result.usable()) return result;
  // The parser of the same SDK first: beside the runtime that was found.
  const std::string beside = result.path.substr(0, result.path.rfind('/'));
  const Found parser = open_first({beside, ""}, sdk::kParserLibrary);
  result.create_parser = parser.library.symbol("createNvOnnxParser_INTERNAL");
  if (result.create_builder == nullptr || result.create_runtime == nullptr) {
    refuse(result, result.path + " lacks the functions of " + sdk::kDisplayName);
  } else if (result.create_parser == nullptr) {
    refuse(result, std::string(sdk::kParserLibrary) + " was not found beside " + result.path +
                       (parser.tried.empty() ? "" : ": " + parser.tried));
  }
  return result;
}

}  // namespace

std::string Library::sdk_text() const { return std::string(sdk::kDisplayName) + " " + version_text(version); }

nvinfer1::IBuilder* Library::make_builder() const {
  const auto create = reinterpret_cast<void* (*)(void*, int32_t)>(create_builder);
  return static_cast<nvinfer1::IBuilder*>(create(static_cast<nvinfer1::ILogger*>(&logger()), NV_TENSORRT_VERSION));
}

nvinfer1::IRuntime* Library::make_runtime() const {
  const auto create = reinterpret_cast<void* (*)(void*, int32_t)>(create_runtime);
  return static_cast<nvinfer1::IRuntime*>(create(static_cast<nvinfer1::ILogger*>(&logger()), NV_TENSORRT_VERSION));
}

nvonnxparser::IParser* Library::make_parser(nvinfer1::INetworkDefinition& network) const {
  const auto create = reinterpret_cast<void* (*)(void*, void*, int)>(create_parser);
  return static_cast<nvonnxparser::IParser*>(
      create(&network, static_cast<nvinfer1::ILogger*>(&logger()), NV_ONNX_PARSER_VERSION));
}

const Library& library() {
  static const Library loaded = load();
  return loaded;
}

const Library& usable_library() {
  const Library& found = library();
  if (!found.usable()) throw Failure(sdk::kLibrary, found.reason, found.remedy, FERRY_UNSUPPORTED);
  return found;
}

}  // namespace ferry::nvinfer
