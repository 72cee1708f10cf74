// How the readers say no.
#pragma once

#include <string>
#include <string_view>

#include "ferry/error.h"

namespace ferry {

/// What to do about a file that cannot be as its writer left it.
inline constexpr const char* kDamaged = "The file is incomplete or damaged: copy or download it again.";

/// Throws Error(kCheckpoint) about one file, or one part of it.
class Refusal {
 public:
  explicit Refusal(std::string subject) : subject_(std::move(subject)) {}
  /// The same about a part: "net.pth: net/data.pkl".
  Refusal about(std::string_view part) const { return Refusal(subject_ + ": " + printable(part)); }
  [[noreturn]] void operator()(const std::string& cause, const std::string& hint = {}) const {
    throw Error(Stage::kCheckpoint, subject_, cause, hint);
  }

  /// Text from a file, made safe to show: control characters and other bytes become '?', long text is cut.
  static std::string printable(std::string_view text);

 private:
  std::string subject_;
};

}  // namespace ferry
