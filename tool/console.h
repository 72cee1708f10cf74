// The terminal: what goes to stdout and stderr, in which style, and how wide.
#pragma once

#include <mutex>
#include <string>
#include <string_view>

namespace ferry::tool {

/// Styles are codes only on a terminal, without NO_COLOR and with a TERM that is not "dumb"; otherwise nothing.
enum class Style { kPlain, kBold, kDim, kRed, kGreen, kYellow };

class Console {
 public:
  Console();

  bool color_out() const noexcept { return color_out_; }
  bool progress_on_terminal() const noexcept { return terminal_err_; }
  int columns() const noexcept { return columns_; }
  bool unicode() const noexcept { return unicode_; }

  std::string out_style(Style style, std::string_view text) const { return styled(color_out_, style, text); }
  std::string err_style(Style style, std::string_view text) const { return styled(color_err_, style, text); }

  /// Results.
  void out(std::string_view text) const;
  /// Flushes stdout; throws Error(kReport) if anything could not be written (disk full, closed pipe).
  void flush() const;

  /// One whole line on stderr; a progress line on display is cleared first. Thread-safe.
  void err_line(std::string_view text);
  /// Replaces the progress line; an empty text removes it. Only on a terminal. Thread-safe.
  void progress_line(const std::string& text);

 private:
  static std::string styled(bool color, Style style, std::string_view text);
  std::mutex mutex_;
  bool color_out_ = false, color_err_ = false, terminal_err_ = false, unicode_ = false, line_shown_ = false;
  int columns_ = 80;
};

/// The one console of the process.
Console& console();

}  // namespace ferry::tool
