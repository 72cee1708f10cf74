// All that sets the twin apart.
#include "fake/faults.h"

namespace ferry::fake {

#ifdef FERRY_FAKE_TWIN
const char *const kName = "twin", *const kDisplayName = "Twin engine", *const kPrefix = "FERRY_TWIN_";
#else
const char *const kName = "fake", *const kDisplayName = "Fake engine", *const kPrefix = "FERRY_FAKE_";
#endif

}  // namespace ferry::fake
