#include "errors.h"

#include <sstream>

#include "console.h"
#include "text.h"

namespace ferry::tool {
namespace {

int exit_code_of(Stage stage) {
  if (stage == Stage::kUsage) return kWrongUsage;
  if (stage == Stage::kInterrupted) return kInterruptedExit;
  return kFailed;
}

// Line by line, so that a name out of a hostile file cannot send codes to the terminal.
std::string clean_lines(const std::string& text, const std::string& indent) {
  std::istringstream lines(text);
  std::string line, result;
  while (std::getline(lines, line)) result += (result.empty() ? "" : "\n" + indent) + printable(line);
  return result;
}

void emit_failure(const Json& error, int code, const Context& context) {
  if (!context.json_on_stdout()) return;
  console().out(Json{{"error", error}, {"exit_code", code}}.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace

Json to_json(const Error& error) {
  return {{"stage", stage_name(error.stage())},
          {"subject", error.subject()},
          {"cause", error.cause()},
          {"hint", error.hint()}};
}

int report(const Error& error, const Context& context) {
  const int code = exit_code_of(error.stage());
  std::string text = console().err_style(Style::kRed, "ferry: ");
  if (error.stage() != Stage::kUsage) text += std::string(stage_name(error.stage())) + ": ";
  if (!error.subject().empty()) text += printable(error.subject()) + ": ";
  text += clean_lines(error.cause(), "       ");
  if (!error.hint().empty()) text += "\n       " + clean_lines(error.hint(), "       ");
  console().err_line(text);
  emit_failure(to_json(error), code, context);
  return code;
}

int report_unexpected(const char* what, const Context& context) {
  console().err_line(console().err_style(Style::kRed, "ferry: ") + "internal error: " + printable(what) +
                     "\n       This is a bug: please report it with the command and this line.");
  emit_failure({{"stage", "internal"}, {"subject", ""}, {"cause", what}, {"hint", ""}}, kFailed, context);
  return kFailed;
}

}  // namespace ferry::tool
