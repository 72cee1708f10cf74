// Opens libferry_libtorch_impl.so, and with it LibTorch, on first use.
#pragma once

#include <string>

#include "module/module.h"

namespace ferry::libtorch {

/// The implementation's entries; throws Failure with the loader's message. Thread-safe.
const ferry_backend_api& implementation();

/// The file beside this module; empty if it is not there.
std::string implementation_file();

/// A folder beside this module that may be a link to the `torch` of a Python: how a packed ferry (`make dist`) gets
/// one.
std::string own_torch();

/// Where LibTorch's library will be found: beside this module (a packed ferry), else where it was built with. Empty if
/// it is at neither.
std::string library_file();

}  // namespace ferry::libtorch
