// What every verb is given: how to speak, and what the user asked of the output.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "ferry/backend.h"

namespace ferry::tool {

enum ExitCode { kGood = 0, kFailed = 1, kWrongUsage = 2, kDisagreement = 3, kInterruptedExit = 130 };

using Json = nlohmann::ordered_json;

struct Context {
  bool quiet = false;    // no progress, no notes on stderr; results and errors only
  bool verbose = false;  // the SDK's log on stderr
  std::string json;      // "": text; "-": JSON on stdout instead of text; otherwise a file, besides the text
  std::string command;   // as typed

  bool json_on_stdout() const noexcept { return json == "-"; }
  /// Text results for people; nothing when stdout carries JSON.
  void print(std::string_view text) const;
  /// The result as JSON, where --json asks for it.
  void emit(const Json& result) const;
  /// The same for text that is JSON already.
  void emit_text(const std::string& json_text) const;
  /// One line about what is going on, on stderr.
  void note(std::string_view text) const;
  void warn(std::string_view text) const;
  /// For calls that take the SDK's log: prints with --verbose, else drops.
  Log log() const;
};

}  // namespace ferry::tool
