#include "context.h"

#include "console.h"
#include "ferry/files.h"
#include "text.h"

namespace ferry::tool {

void Context::print(std::string_view text) const {
  if (!json_on_stdout()) console().out(text);
}

void Context::emit(const Json& result) const {
  if (!json.empty()) emit_text(result.dump(2, ' ', false, Json::error_handler_t::replace));
}

void Context::emit_text(const std::string& json_text) const {
  if (json.empty()) return;
  const std::string text = json_text.ends_with('\n') ? json_text : json_text + "\n";
  if (json_on_stdout())
    console().out(text);
  else
    write_file(json, text, Stage::kReport);
}

void Context::note(std::string_view text) const {
  if (!quiet) console().err_line(text);
}

void Context::warn(std::string_view text) const {
  if (!quiet) console().err_line(console().err_style(Style::kYellow, "warning: ") + std::string(text));
}

Log Context::log() const {
  if (!verbose) return {};
  return [](int severity, const std::string& line) {
    static constexpr const char* kNames[] = {"error", "warning", "info", "verbose"};
    const char* name = severity >= 0 && severity <= 3 ? kNames[severity] : "log";
    console().err_line(console().err_style(Style::kDim, std::string("  [") + name + "] " + printable(line)));
  };
}

}  // namespace ferry::tool
