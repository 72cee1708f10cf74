#include "fetch/download.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "ferry/error.h"

namespace ferry {
namespace {

constexpr curl_off_t kLargestFile = curl_off_t{4} << 30;
constexpr int kMostAttempts = 5;  // as long as each brings something

struct Transfer {
  PartFile& part;
  const FetchOptions& options;
  CURL* curl = nullptr;
  std::int64_t start = 0;  // bytes that were there before
  std::int64_t received = 0;
  std::int64_t total = 0;
  bool stopped = false;
  int write_error = 0;

  // The body of an error page or of a redirect must not get into the file.
  bool is_the_file() const {
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    return status == (start > 0 ? 206 : 200);
  }
};

std::size_t on_data(char* data, std::size_t, std::size_t size, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  if (!transfer.is_the_file()) return size;
  if (!transfer.part.append(data, size)) {
    transfer.write_error = errno;
    return 0;
  }
  transfer.received += static_cast<std::int64_t>(size);
  return size;
}

int on_progress(void* user, curl_off_t total, curl_off_t, curl_off_t, curl_off_t) {
  auto& transfer = *static_cast<Transfer*>(user);
  if (total > 0 && transfer.is_the_file()) transfer.total = transfer.start + total;
  const auto& report = transfer.options.progress;
  transfer.stopped = report && !report(transfer.start + transfer.received, transfer.total);
  return transfer.stopped ? 1 : 0;
}

void start_curl() {
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (started != CURLE_OK) throw Error(Stage::kFetch, "libcurl", curl_easy_strerror(started));
}

using Curl = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;

Curl make_request(const std::string& url, Transfer& transfer) {
  start_curl();
  Curl curl(curl_easy_init(), curl_easy_cleanup);
  if (!curl) throw Error(Stage::kFetch, url, "libcurl could not start");
  CURL* handle = transfer.curl = curl.get();
  curl_easy_setopt(handle, CURLOPT_URL, url.c_str());
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(handle, CURLOPT_MAXREDIRS, 5L);
#if LIBCURL_VERSION_NUM >= 0x075500
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "https,http");
  curl_easy_setopt(handle, CURLOPT_REDIR_PROTOCOLS_STR, "https,http");
#else
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS, static_cast<long>(CURLPROTO_HTTPS | CURLPROTO_HTTP));
  curl_easy_setopt(handle, CURLOPT_REDIR_PROTOCOLS, static_cast<long>(CURLPROTO_HTTPS | CURLPROTO_HTTP));
#endif
  curl_easy_setopt(handle, CURLOPT_USERAGENT, "ferry/" FERRY_VERSION);
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, 15L);
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, static_cast<long>(transfer.options.stall_seconds));
  curl_easy_setopt(handle, CURLOPT_MAXFILESIZE_LARGE, kLargestFile);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_data);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(handle, CURLOPT_XFERINFODATA, &transfer);
  if (transfer.start > 0)  // not RESUME_FROM: a server without ranges is told by its status, below
    curl_easy_setopt(handle, CURLOPT_RANGE, fmt::format("{}-", transfer.start).c_str());
  return curl;
}

std::string elsewhere(const std::string& url, const std::string& target) {
  return fmt::format("Download {} on another machine and copy it to {}, or use seeded weights: --random-weights.", url,
                     target);
}

bool no_network(CURLcode code) {
  return code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_RESOLVE_PROXY || code == CURLE_COULDNT_CONNECT;
}

[[noreturn]] void give_up(const std::string& url, CURLcode code, const Transfer& transfer, const std::string& target) {
  const std::int64_t have = transfer.start + transfer.received;
  if (transfer.stopped)
    throw Error(Stage::kInterrupted, url, fmt::format("stopped after {} bytes", have),
                "Run it again: it continues there.");
  if (transfer.write_error != 0)
    throw Error(Stage::kFetch, transfer.part.path(),
                std::string("cannot write: ") + std::strerror(transfer.write_error),
                "Free some room, or set XDG_CACHE_HOME to another folder.");
  if (no_network(code))
    throw Error(Stage::kFetch, url, std::string("no network: ") + curl_easy_strerror(code), elsewhere(url, target));
  const std::string so_far =
      transfer.total > 0 ? fmt::format("{} of {} bytes", have, transfer.total) : fmt::format("{} bytes", have);
  throw Error(Stage::kFetch, url, fmt::format("the download ended after {}: {}", so_far, curl_easy_strerror(code)),
              "Run it again: it continues there.");
}

enum class Outcome { kDone, kAgain };

Outcome attempt(const std::string& url, PartFile& part, const FetchOptions& options, const std::string& target,
                bool last) {
  Transfer transfer{part, options, nullptr, part.size()};
  const Curl curl = make_request(url, transfer);
  const CURLcode code = curl_easy_perform(curl.get());
  long status = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  if (code == CURLE_OK && transfer.is_the_file()) return Outcome::kDone;
  if (code == CURLE_OK && transfer.start > 0 && (status == 200 || status == 416)) {
    part.restart();  // no ranges there, or the part is longer than the file
    return Outcome::kAgain;
  }
  if (code == CURLE_OK)
    throw Error(Stage::kFetch, url, fmt::format("the server answered {}", status),
                status == 404 ? "The file is not published there. " + elsewhere(url, target) : elsewhere(url, target));
  if (!last && transfer.received > 0 && !transfer.stopped && transfer.write_error == 0) return Outcome::kAgain;
  give_up(url, code, transfer, target);
}

}  // namespace

void download(const std::string& url, PartFile& part, const FetchOptions& options, const std::string& target) {
  for (int i = 1; i <= kMostAttempts; ++i)
    if (attempt(url, part, options, target, i == kMostAttempts) == Outcome::kDone) return;
  throw Error(Stage::kFetch, url, "the server does not give the file", elsewhere(url, target));
}

}  // namespace ferry
