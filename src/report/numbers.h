// Numbers for people: as many digits as mean something.
#pragma once

#include <string>

namespace ferry {

std::string milliseconds(double value);  // "0.604", "12.34", "123.4", "1234"; "-" if not finite
std::string rate(double per_second);     // "7.94", "24100"
std::string small(double value);         // "1.2e-06", "0"
std::string share(double value);         // "100 %", "99.5 %"; never rounds up to 100

}  // namespace ferry
