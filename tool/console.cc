#include "console.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "ferry/error.h"
#include "text.h"

namespace ferry::tool {
namespace {

bool wants_color(int fd) {
  const std::string term = environment("TERM");
  return ::isatty(fd) == 1 && environment("NO_COLOR").empty() && !term.empty() && term != "dumb";
}

bool wants_unicode() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const std::string value = environment(name);
    if (value.empty()) continue;  // the first one that is set decides
    return value.find("UTF-8") != std::string::npos || value.find("utf8") != std::string::npos;
  }
  return false;
}

int terminal_columns() {
  winsize size{};
  for (const int fd : {STDERR_FILENO, STDOUT_FILENO})
    if (::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

const char* code(Style style) {
  switch (style) {
    case Style::kBold:
      return "\033[1m";
    case Style::kDim:
      return "\033[2m";
    case Style::kRed:
      return "\033[31m";
    case Style::kGreen:
      return "\033[32m";
    case Style::kYellow:
      return "\033[33m";
    case Style::kPlain:
      break;
  }
  return "";
}

}  // namespace

Console::Console()
    : color_out_(wants_color(STDOUT_FILENO)),
      color_err_(wants_color(STDERR_FILENO)),
      terminal_err_(::isatty(STDERR_FILENO) == 1 && environment("TERM") != "dumb"),
      unicode_(wants_unicode()),
      columns_(terminal_columns()) {}

std::string Console::styled(bool color, Style style, std::string_view text) {
  if (!color || style == Style::kPlain || text.empty()) return std::string(text);
  return code(style) + std::string(text) + "\033[0m";
}

void Console::out(std::string_view text) const { std::fwrite(text.data(), 1, text.size(), stdout); }

void Console::flush() const {
  const bool failed_before = std::ferror(stdout) != 0;
  if (std::fflush(stdout) != 0 || failed_before)
    throw Error(Stage::kReport, "stdout", std::string("cannot write the result: ") + std::strerror(errno),
                "Free some room, or send the output somewhere else.");
}

void Console::err_line(std::string_view text) {
  const std::lock_guard lock(mutex_);
  if (line_shown_) std::fputs("\r\033[K", stderr);
  line_shown_ = false;
  std::string line(text);
  line += '\n';
  std::fwrite(line.data(), 1, line.size(), stderr);
}

void Console::progress_line(const std::string& text) {
  if (!terminal_err_) return;
  const std::lock_guard lock(mutex_);
  if (text.empty() && !line_shown_) return;
  const std::string line = "\r\033[K" + text;
  std::fwrite(line.data(), 1, line.size(), stderr);
  std::fflush(stderr);
  line_shown_ = !text.empty();
}

Console& console() {
  static Console instance;
  return instance;
}

}  // namespace ferry::tool
