// What every module needs at the C border: failures as exceptions inside, as status and text outside; sinks; options.
// Header-only, hidden in each module.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "backend_abi.h"

namespace ferry::module {

/// How a module fails inside. Everything else that is thrown becomes FERRY_FAILED with its what().
class Failure : public std::runtime_error {
 public:
  Failure(std::string subject, const std::string& cause, std::string hint = {}, ferry_status status = FERRY_FAILED)
      : std::runtime_error(cause), subject_(std::move(subject)), hint_(std::move(hint)), status_(status) {}
  const std::string& subject() const noexcept { return subject_; }
  const std::string& hint() const noexcept { return hint_; }
  ferry_status status() const noexcept { return status_; }

 private:
  std::string subject_, hint_;
  ferry_status status_;
};

/// This thread's last failure: what `last_error` hands out.
struct LastError {
  std::string subject, cause, hint;
};
inline LastError& last_error() {
  thread_local LastError error;
  return error;
}

inline void report_last_error(ferry_failure* failure) {
  const LastError& e = last_error();
  *failure = {e.subject.c_str(), e.cause.c_str(), e.hint.c_str()};
}

/// Runs the body of an entry: no exception leaves the module.
template <typename Body>
ferry_status guard(Body body) noexcept {
  try {
    body();
    return FERRY_OK;
  } catch (const Failure& f) {
    last_error() = {f.subject(), f.what(), f.hint()};
    return f.status();
  } catch (const std::bad_alloc&) {
    last_error() = {"", "out of memory", ""};
  } catch (const std::exception& e) {
    last_error() = {"", e.what(), ""};
  } catch (...) {
    last_error() = {"", "an exception of an unknown type", ""};
  }
  return FERRY_FAILED;
}

inline void write(const ferry_sink& sink, const void* data, std::size_t size) {
  if (sink.write(sink.user, data, size) != 0) throw Failure("", "the caller could not take the bytes written");
}
inline void write(const ferry_sink& sink, const nlohmann::json& json) {
  const std::string text = json.dump();
  write(sink, text.data(), text.size());
}

inline void log(const ferry_log& log, int severity, const std::string& text) {
  if (log.line != nullptr) log.line(log.user, severity, text.c_str());
}

/// The options of `build` or `open`: an object all of whose keys are in `known`.
inline nlohmann::json options(const char* text, std::initializer_list<const char*> known) {
  nlohmann::json json = nlohmann::json::parse(text == nullptr ? "{}" : text, nullptr, false);
  if (!json.is_object()) throw Failure("options", "the options are not a JSON object");
  for (const auto& [key, value] : json.items()) {
    bool found = false;
    for (const char* name : known) found = found || key == name;
    if (!found) throw Failure("options", "there is no option '" + key + "'");
  }
  return json;
}

}  // namespace ferry::module
