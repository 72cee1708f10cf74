// The command line: verbs, options that all of them share, usage errors.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "context.h"

namespace ferry::tool {

class Cli {
 public:
  Cli();

  /// A verb with the shared options. `body` runs it and returns an exit code.
  CLI::App* add_verb(const std::string& name, const std::string& description, std::function<int(const Context&)> body);

  /// Parses and runs. Usage errors and ferry::Error become one message and an exit code.
  int run(int argc, const char* const* argv);

 private:
  int parse_and_run(std::vector<std::string> arguments);
  int wrong_usage(const std::string& what, const std::vector<std::string>& arguments);

  CLI::App app_;
  Context context_;
  std::function<int(const Context&)> chosen_;
};

// One for each verb, each in a file of its own.
void add_doctor(Cli& cli);
void add_fetch(Cli& cli);
void add_export(Cli& cli);
void add_quantize(Cli& cli);
void add_build(Cli& cli);
void add_infer(Cli& cli);
void add_classify(Cli& cli);
void add_bench(Cli& cli);
void add_compare(Cli& cli);
void add_tune(Cli& cli);
void add_report(Cli& cli);
void add_inspect(Cli& cli);
void add_eval(Cli& cli);

/// "1,8,32" -> {1, 8, 32}; throws Error(kUsage) naming `option`.
std::vector<std::int64_t> parse_batches(const std::string& option, const std::string& text);
/// "fp32,fp16" -> {"fp32", "fp16"}: split at commas, empty parts refused.
std::vector<std::string> parse_list(const std::string& option, const std::string& text);

}  // namespace ferry::tool
