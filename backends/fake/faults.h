// Failures on demand, from the environment at each call so that a test can switch them in one process.
//   FERRY_FAKE_FAIL     an entry, or several with commas: describe supported build open io open_session staging submit
//                       image_staging submit_images wait telemetry profile. It fails with a message that names it.
//   FERRY_FAKE_MODE     any of, with commas:
//                         wrong_abi      the table carries another ABI number
//                         no_library     supported says that the SDK is missing
//                         slow_build     a build takes 5 s in 100 steps; it can be cancelled
//                         empty_plan     build succeeds without a plan
//                         float_engine   whatever the graph asked for, layers run in float
//                         images         pictures cross as pixels: image_staging and submit_images work
//                         resident       it claims a device of its own: requests without copies work
//                         throttled      telemetry tells of 700 W and the power limit
//                         zero_batch     inputs and outputs call their dynamic dimension 0, not -1
//                         nan | zeros | other_network | unwritten    what outputs hold
//   FERRY_FAKE_MS       "fixed,an image,copies": milliseconds that a request takes at least, and what its copies add;
//                       default 0,0,0
//   FERRY_FAKE_GPU      "name,compute capability,driver": the engine claims to run on such a GPU
//   FERRY_FAKE_VERSION  the SDK version it claims; default 1.0.0
// The twin, the same module under another name, reads FERRY_TWIN_* instead.
#pragma once

#include <cstdlib>
#include <string>

#include "module/module.h"

namespace ferry::fake {

extern const char *const kName, *const kDisplayName, *const kPrefix;

/// The variable whose name ends so: environment("MODE").
inline std::string environment(const char* name, const char* otherwise = "") {
  const char* value = std::getenv((std::string(kPrefix) + name).c_str());
  return value == nullptr ? otherwise : value;
}

/// Whether a comma-separated list holds `word`.
inline bool lists(const std::string& list, const std::string& word) {
  return ("," + list + ",").find("," + word + ",") != std::string::npos;
}

inline bool mode(const char* name) { return lists(environment("MODE"), name); }

inline void fail_if_asked(const char* entry) {
  if (!lists(environment("FAIL"), entry)) return;
  throw module::Failure("", std::string("fake failure in ") + entry, std::string("unset ") + kPrefix + "FAIL");
}

}  // namespace ferry::fake
