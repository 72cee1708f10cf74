// Where the SDKs' libraries may lie on this machine.
#pragma once

#include <string>
#include <vector>

namespace ferry::nvinfer {

struct SdkPlace {
  const char* variable;        // "FERRY_TENSORRT_DIR"
  const char* package_folder;  // "tensorrt_libs": its folder in a Python site-packages
  const char* deps_folder;     // where setup/install put it when this module was built
};

/// Existing folders, best first: $variable (an SDK's root or its lib folder), the deps folder, ../deps beside the
/// module (an installed ferry), then the Python packages' folders. An empty last entry stands for the loader's own
/// path. If $variable is set, it alone counts: a user who names an SDK must not silently get another.
std::vector<std::string> sdk_folders(const SdkPlace& place, const std::string& module_path);

/// site-packages and dist-packages of the active virtual environment, the user and the system; Python isn't started.
std::vector<std::string> python_site_folders();

}  // namespace ferry::nvinfer
