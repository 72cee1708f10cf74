#include "libtorch/lazy.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>

namespace ferry::libtorch {
namespace {

namespace fs = std::filesystem;
using module::Failure;

fs::path own_folder() {
  Dl_info info{};
  dladdr(reinterpret_cast<const void*>(&implementation_file), &info);
  std::error_code ignored;
  return info.dli_fname == nullptr ? fs::path() : fs::canonical(info.dli_fname, ignored).parent_path();
}

/// How long OpenMP's threads spin after a parallel region before they sleep. libgomp reads it once, when it is loaded.
///
/// Its default (some 10 ms) makes LibTorch's threads burn the cores that the next engine in a comparison runs on, and
/// makes LibTorch itself up to 40 times slower when any other process wants a core. Sleeping at once
/// (OMP_WAIT_POLICY=passive) would cost LibTorch a wake-up per layer, which is unfair to it. So: spin longer than the
/// gap between two layers, far shorter than a run. A user who has set either variable keeps it, and the variable is
/// gone again afterwards, so that child processes run as the user set them up.
class ShortSpin {
 public:
  ShortSpin() : ours_(std::getenv("OMP_WAIT_POLICY") == nullptr && std::getenv("GOMP_SPINCOUNT") == nullptr) {
    if (ours_) setenv("GOMP_SPINCOUNT", "10000", 1);
  }
  ShortSpin(const ShortSpin&) = delete;
  ShortSpin& operator=(const ShortSpin&) = delete;
  ~ShortSpin() {
    if (ours_) unsetenv("GOMP_SPINCOUNT");
  }

 private:
  bool ours_;
};

const ferry_backend_api* load() {
  const std::string file = implementation_file();
  if (file.empty()) throw Failure("libferry_libtorch_impl.so", "it is not beside the module", "Install ferry again.");
  const ShortSpin spin;
  // LOCAL: LibTorch brings OpenMP, oneDNN, protobuf and fmt of its own; nobody else must see them.
  void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr)
    throw Failure(file, std::string("LibTorch does not load: ") + dlerror(),
                  "The torch that ferry was built with is gone or has changed: build ferry again.", FERRY_UNSUPPORTED);
  const auto entry = reinterpret_cast<ferry_backend_fn>(dlsym(handle, FERRY_BACKEND_SYMBOL));
  if (entry == nullptr) throw Failure(file, "it exports no " FERRY_BACKEND_SYMBOL, "Install ferry again.");
  return entry(FERRY_BACKEND_ABI);
}

}  // namespace

std::string implementation_file() {
  std::error_code ignored;
  const fs::path file = own_folder() / "libferry_libtorch_impl.so";
  return fs::exists(file, ignored) ? file.string() : std::string();
}

std::string own_torch() { return (own_folder() / "torch").string(); }

std::string library_file() {
  std::error_code ignored;
  for (const fs::path& folder : {own_folder() / "deps", fs::path(own_torch()) / "lib", fs::path(FERRY_TORCH_LIB)})
    if (const fs::path file = folder / "libtorch_cpu.so"; fs::exists(file, ignored)) return file.string();
  return {};
}

const ferry_backend_api& implementation() {
  static const ferry_backend_api* api = load();  // an exception leaves it unset: the next call tries again
  return *api;
}

}  // namespace ferry::libtorch
