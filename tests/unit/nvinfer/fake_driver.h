// The fake driver as tests use it: loaded by path, so that it is the same copy that the code under test opens.
#pragma once

#include <dlfcn.h>

#include <cstdint>
#include <stdexcept>

namespace ferry::testing {

struct FakeDriver {
  void (*fail)(const char*, int, int);
  void (*reset)();
  int (*calls)(const char*);
  int (*live)();
  std::uint64_t (*device_bytes)();
  int (*enqueue)(void*, void (*)(void*), void*);
  int (*forbidden_in_capture)(void*);
  void (*kernel)(const char*, void (*)(void**, void*), void*);
  void (*asynchronous)(int);

  static const FakeDriver& get() {
    static const FakeDriver driver = load();
    return driver;
  }

 private:
  template <typename Function>
  static void find(void* library, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (function == nullptr) throw std::runtime_error(name);
  }
  static FakeDriver load() {
    void* library = dlopen(FERRY_FAKE_CUDA, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) throw std::runtime_error(dlerror());
    FakeDriver driver{};
    find(library, "fake_cuda_fail", driver.fail);
    find(library, "fake_cuda_reset", driver.reset);
    find(library, "fake_cuda_calls", driver.calls);
    find(library, "fake_cuda_live", driver.live);
    find(library, "fake_cuda_device_bytes", driver.device_bytes);
    find(library, "fake_cuda_enqueue", driver.enqueue);
    find(library, "fake_cuda_forbidden_in_capture", driver.forbidden_in_capture);
    find(library, "fake_cuda_kernel", driver.kernel);
    find(library, "fake_cuda_asynchronous", driver.asynchronous);
    return driver;
  }
};

}  // namespace ferry::testing
