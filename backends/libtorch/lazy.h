// Opens libferry_libtorch_impl.so, and with it LibTorch, on first use.
#pragma once

#include <string>

#include "module/module.h"

namespace ferry::libtorch {

/// The implementation's entries; throws Failure with the loader's message. Thread-safe.
const ferry_backend_api& implementation();

/// The file beside this module; empty if it is not there.
std::string implementation_file();

/// Where LibTorch's library will be found: beside this module (an installed ferry), else where it was built with. Empty
/// if it is at neither.
std::string library_file();

}  // namespace ferry::libtorch
