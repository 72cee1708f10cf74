// What the module is, and what it can do on this machine (see `describe` and `supported` in backend_abi.h).
#pragma once

#include <string>

namespace ferry::nvinfer {

std::string describe_json();
std::string supported_json();

}  // namespace ferry::nvinfer
