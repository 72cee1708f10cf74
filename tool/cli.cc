#include "cli.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <new>

#include "console.h"
#include "errors.h"
#include "ferry/error.h"
#include "signals.h"
#include "text.h"

namespace ferry::tool {
namespace {

// `--json` stands alone (JSON on stdout) or takes a file. So that it can never take the user's checkpoint for that
// file, only a name that ends in .json counts; in every other case it becomes "--json=-".
void settle_json_option(std::vector<std::string>& arguments) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--") return;
    if (arguments[i] != "--json") continue;
    const bool takes_next =
        i + 1 < arguments.size() && (arguments[i + 1].ends_with(".json") || arguments[i + 1] == "-");
    if (!takes_next) arguments[i] = "--json=-";
  }
}

std::string typed(const std::vector<std::string>& arguments) {
  std::string text = "ferry";
  for (const std::string& argument : arguments) text += " " + shell_quoted(argument);
  return text;
}

std::string check_json_target(const std::string& target) {
  return target == "-" || target.ends_with(".json") ? "" : "the file name must end in .json (or be - for stdout)";
}

bool is_help(const CLI::ParseError& error) {
  return error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success);
}

}  // namespace

Cli::Cli() : app_("From a PyTorch ResNet checkpoint to the fastest correct inference on this machine.", "ferry") {
  app_.set_version_flag("--version", std::string("ferry ") + FERRY_VERSION);
  app_.require_subcommand(0, 1);
  app_.get_formatter()->column_width(30);
  app_.get_formatter()->label("SUBCOMMAND", "VERB");
  app_.footer(
      "The whole mission in one command:   ferry compare resnet101.pth\n"
      "Options of a verb:                  ferry VERB --help\n"
      "Exit codes: 0 good, 1 failed, 2 wrong usage, 3 the comparison found disagreement, 130 interrupted.");
}

CLI::App* Cli::add_verb(const std::string& name, const std::string& description,
                        std::function<int(const Context&)> body) {
  CLI::App* verb = app_.add_subcommand(name, description);
  verb->group("Verbs");
  verb->add_option("--json", context_.json, "The result as JSON: on stdout, or in FILE (*.json)")
      ->type_name("[FILE]")
      ->check(CLI::Validator(check_json_target, ""));
  auto* quiet = verb->add_flag("-q,--quiet", context_.quiet, "Results and errors only: no progress, no notes");
  verb->add_flag("-v,--verbose", context_.verbose, "Show the log of the engine's SDK")->excludes(quiet);
  verb->callback([this, body = std::move(body)] { chosen_ = body; });
  return verb;
}

int Cli::wrong_usage(const std::string& what, const std::vector<std::string>& arguments) {
  std::string verb, hint;
  const auto verbs = app_.get_subcommands([](const CLI::App*) { return true; });
  const auto is_first = [&](const CLI::App* known) { return !arguments.empty() && known->get_name() == arguments[0]; };
  if (std::any_of(verbs.begin(), verbs.end(), is_first)) verb = " " + arguments[0];
  std::string cause = what;
  if (verb.empty() && !arguments.empty() && !arguments[0].starts_with('-')) {
    cause = fmt::format("'{}' is not a verb", arguments[0]);
    if (std::filesystem::exists(arguments[0]))
      hint = "Did you mean: ferry compare " + shell_quoted(arguments[0]) + "\n";
  }
  return report(Error(Stage::kUsage, "", cause, hint + "See: ferry" + verb + " --help"), context_);
}

int Cli::parse_and_run(std::vector<std::string> arguments) {
  settle_json_option(arguments);
  context_.command = typed(arguments);
  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // what CLI11 wants
    app_.parse(std::move(reversed));
  } catch (const CLI::ParseError& error) {
    if (!is_help(error)) return wrong_usage(error.what(), arguments);
    const int code = app_.exit(error);  // prints the help or the version
    console().flush();
    return code;
  }
  if (!chosen_) {
    console().err_line(app_.help());
    return kWrongUsage;
  }
  const int code = chosen_(context_);
  console().flush();
  return code;
}

int Cli::run(int argc, const char* const* argv) {
  try {
    return parse_and_run(std::vector<std::string>(argv + std::min(argc, 1), argv + argc));
  } catch (const Error& error) {
    return report(error, context_);
  } catch (const std::bad_alloc&) {
    return report(Error(Stage::kRun, "", "not enough memory", "Close other programs, or use a smaller batch."),
                  context_);
  } catch (const std::exception& error) {
    return report_unexpected(error.what(), context_);
  }
}

std::vector<std::string> parse_list(const std::string& option, const std::string& text) {
  std::vector<std::string> parts;
  std::size_t from = 0;
  for (;;) {
    const std::size_t comma = text.find(',', from);
    parts.push_back(text.substr(from, comma == std::string::npos ? comma : comma - from));
    if (parts.back().empty())
      throw Error(Stage::kUsage, option, fmt::format("'{}' has an empty part", text), "Give a list such as a,b,c.");
    if (comma == std::string::npos) return parts;
    from = comma + 1;
  }
}

std::vector<std::int64_t> parse_batches(const std::string& option, const std::string& text) {
  std::vector<std::int64_t> batches;
  for (const std::string& part : parse_list(option, text)) {
    std::int64_t batch = 0;
    const auto [end, failure] = std::from_chars(part.data(), part.data() + part.size(), batch);
    if (failure != std::errc() || end != part.data() + part.size() || batch < 1 || batch > 65536)
      throw Error(Stage::kUsage, option, fmt::format("'{}' is not a batch size from 1 to 65536", part),
                  "Give one or several: " + option + " 1,8,32");
    if (std::find(batches.begin(), batches.end(), batch) == batches.end()) batches.push_back(batch);
  }
  return batches;
}

}  // namespace ferry::tool
