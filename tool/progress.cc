#include "progress.h"

#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>

#include "console.h"
#include "signals.h"
#include "text.h"

namespace ferry::tool {

using Clock = std::chrono::steady_clock;

struct Job::State {
  std::mutex mutex;
  std::string name, phase, unit;
  Clock::time_point started = Clock::now(), phase_started = started, shown{};
  std::atomic<bool> visible = false, lines = false;

  void note(const std::string& now_phase);
  void show(const std::string& now_phase, std::int64_t done, std::int64_t total);
};

std::string bar(double share, int columns, bool unicode) {
  const int filled = static_cast<int>(std::lround(std::clamp(share, 0.0, 1.0) * columns));
  std::string text;
  for (int i = 0; i < columns; ++i) {
    if (unicode)
      text += i < filled ? "━" : "┄";
    else
      text += i < filled - 1 ? '=' : i == filled - 1 ? '>' : ' ';
  }
  return unicode ? text : "[" + text + "]";
}

std::string eta(double seconds_so_far, double share) {
  if (seconds_so_far < 0.5 || share < 0.02 || share >= 1) return "";
  const auto rest = static_cast<long>(std::ceil(seconds_so_far * (1 - share) / share));
  return rest < 100 ? fmt::format("eta {} s", rest) : fmt::format("eta {} min {:02} s", rest / 60, rest % 60);
}

namespace {

std::string shortened(const std::string& text, std::size_t columns) {
  if (display_width(text) <= columns) return text;
  std::string cut = text.substr(0, columns > 3 ? columns - 3 : 0);
  while (!cut.empty() && (static_cast<unsigned char>(cut.back()) & 0x80) != 0) cut.pop_back();
  return cut + "...";
}

struct Parts {
  std::string name, gauge, phase, tail;
};

// What counts stays: on a narrow terminal the phase goes first, then the end of the name.
std::string arranged(const Parts& parts, std::size_t columns) {
  const std::string tail = parts.tail.empty() ? "" : "  " + parts.tail;
  const std::size_t taken = display_width(parts.gauge) + display_width(tail);
  const std::size_t room = columns > taken + 8 ? columns - taken : 8;
  std::string text = shortened(parts.name, room) + parts.gauge;
  if (!parts.phase.empty() && display_width(parts.name) + 2 + display_width(parts.phase) <= room)
    text += "  " + parts.phase;
  return text + tail;
}

}  // namespace

// Not on a terminal: a line when something new has begun, but not all of it: whoever reads a log wants to see that it
// goes on.
void Job::State::note(const std::string& now_phase) {
  constexpr std::chrono::seconds kBetween{5};
  const std::lock_guard lock(mutex);
  const auto now = Clock::now();
  if (!lines || now_phase == phase || now - shown < kBetween) return;
  phase = now_phase;
  shown = now;
  console().err_line(
      fmt::format("{}: {} ({:.0f} s)", name, phase, std::chrono::duration<double>(now - started).count()));
}

void Job::State::show(const std::string& now_phase, std::int64_t done, std::int64_t total) {
  const std::lock_guard lock(mutex);
  if (!visible) return;  // the job ended while another thread was on its way here
  const auto now = Clock::now();
  const bool changed = now_phase != phase;
  if (changed) {
    phase = now_phase;
    phase_started = now;
  }
  if (!changed && now - shown < std::chrono::milliseconds(100)) return;
  shown = now;
  const Console& screen = console();
  const auto columns = static_cast<std::size_t>(std::max(screen.columns() - 1, 20));
  std::string gauge, tail;
  if (total > 0) {
    const double share = std::clamp(static_cast<double>(done) / static_cast<double>(total), 0.0, 1.0);
    gauge = "  " + bar(share, 24, screen.unicode()) + fmt::format(" {:3.0f}%", share * 100);
    tail = eta(std::chrono::duration<double>(now - phase_started).count(), share);
  } else {
    tail = fmt::format("{:.0f} s", std::chrono::duration<double>(now - started).count());
  }
  const double seconds = std::chrono::duration<double>(now - phase_started).count();
  if (!unit.empty() && seconds > 0.5 && done > 0)
    tail = fmt::format("{:.{}f} {}/s{}{}", static_cast<double>(done) / seconds,
                       static_cast<double>(done) < 100 * seconds ? 1 : 0, unit, tail.empty() ? "" : "  ", tail);
  const std::string line = arranged({name, gauge, phase == name ? "" : phase, tail}, columns);
  console().progress_line(shortened(line, columns));
}

Job::Job(const Context& context, std::string name, std::string unit) : state_(std::make_shared<State>()) {
  state_->name = std::move(name);
  state_->unit = std::move(unit);
  if (context.quiet) return;
  state_->visible = console().progress_on_terminal();
  if (state_->visible)
    console().progress_line(shortened(state_->name + " ...", static_cast<std::size_t>(console().columns() - 1)));
  else
    context.note(state_->name);
  state_->lines = !state_->visible;
  state_->shown = Clock::now();
}

Job::~Job() {
  const std::lock_guard lock(state_->mutex);
  if (state_->visible) console().progress_line("");
  state_->visible = state_->lines = false;
}

Progress Job::progress() {
  return [state = state_](const std::string& phase, std::int64_t done, std::int64_t total) {
    if (state->visible) state->show(phase, done, total);
    if (state->lines) state->note(phase);
    return !interrupted();
  };
}

double Job::seconds() const { return std::chrono::duration<double>(Clock::now() - state_->started).count(); }

}  // namespace ferry::tool
