#include "engine/remember.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <optional>

#include "base/files.h"
#include "ferry/pipeline.h"

namespace ferry {
namespace {

struct Seen {
  std::string stamp;
  bool settled = false;  // so long unchanged that the next change must show in the times
};

double seconds(const timespec& t) { return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec); }

Seen look_at(const std::string& path, Stage stage) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) throw Error(stage, path, std::string("cannot read: ") + std::strerror(errno));
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  const double last = std::max(seconds(info.st_mtim), seconds(info.st_ctim));
  return {fmt::format("{} {} {} {}.{} {}.{}", info.st_dev, info.st_ino, info.st_size, info.st_mtim.tv_sec,
                      info.st_mtim.tv_nsec, info.st_ctim.tv_sec, info.st_ctim.tv_nsec),
          seconds(now) > last + 1};
}

std::string canonical(const std::string& path) {
  std::error_code error;
  const auto full = std::filesystem::canonical(path, error);
  return error ? path : full.string();
}

// The first line repeats what is remembered about which state of which file: a half-written or foreign file is ignored.
struct Note {
  std::string file, head;
};

std::optional<Note> note_for(const std::string& path, const std::string& kind, const Seen& seen) {
  try {
    const std::string full = canonical(path);
    return Note{cache_path("facts") + "/" + sha256(kind + '\0' + full).substr(0, 32),
                fmt::format("{} {} {}\n", kind, seen.stamp, full)};
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::string read_note(const Note& note) {
  std::error_code error;
  if (!std::filesystem::exists(note.file, error)) return {};
  try {
    const std::string text = read_file(note.file, Stage::kOpen);
    return text.starts_with(note.head) ? text.substr(note.head.size()) : std::string();
  } catch (const Error&) {
    return {};
  }
}

void store(const Note& note, const std::string& value) {
  try {
    write_file(note.file, note.head + value, Stage::kOpen);
  } catch (const Error&) {  // only speed is lost
  }
}

}  // namespace

std::string remembered(const std::string& path, const std::string& kind, Stage stage,
                       const std::function<std::string()>& find_out) {
  const Seen before = look_at(path, stage);
  const std::optional<Note> note = note_for(path, kind, before);
  if (!note) return find_out();  // no cache: find out each time
  std::string value = read_note(*note);
  if (!value.empty()) return value;
  value = find_out();
  if (before.settled && look_at(path, stage).stamp == before.stamp) store(*note, value);
  return value;
}

std::string recall(const std::string& path, const std::string& kind) {
  const std::optional<Note> note = note_for(path, kind, look_at(path, Stage::kOpen));
  return note ? read_note(*note) : std::string();
}

std::string stamp_of(const std::string& path, Stage stage) { return look_at(path, stage).stamp; }

void remember_settled(const std::string& path, const std::string& kind, const std::string& value) {
  const Seen seen = look_at(path, Stage::kOpen);
  if (!seen.settled) return;
  if (const std::optional<Note> note = note_for(path, kind, seen)) store(*note, value);
}

void remember(const std::string& path, const std::string& kind, const std::string& value) {
  if (const std::optional<Note> note = note_for(path, kind, look_at(path, Stage::kOpen))) store(*note, value);
}

std::string remembered_sha256(const std::string& path, Stage stage) {
  return remembered(path, "sha256", stage, [&] { return sha256_file(path, stage); });
}

}  // namespace ferry
