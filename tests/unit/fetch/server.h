// A small HTTP server on the loopback interface, for tests of downloads: one file, ranges, and several ways to
// misbehave.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace ferry {

class Server {
 public:
  std::string content;              // of every path
  bool ranges = true;               // false: the whole file whatever is asked
  int status = 200;                 // anything else: an error page
  std::size_t cut_after = 0;        // bytes of the body after which the connection ends; 0: never
  std::string redirect;             // non-empty: 302 to there, once per request of another path
  std::atomic<bool> stalls{false};  // sends the head and then nothing

  Server() {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address);
    ::listen(listener_, 8);
    socklen_t size = sizeof address;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server() {
    stopping_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    if (thread_.joinable()) thread_.join();
    ::close(listener_);
  }
  /// Begins to answer; the fields above are not changed afterwards (but for `stalls`).
  void start() {
    thread_ = std::thread([this] { serve(); });
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/models"; }
  /// What was asked: "GET /models/x.pth" or "GET /models/x.pth from 100".
  std::vector<std::string> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  void serve() {
    for (;;) {
      const int connection = ::accept(listener_, nullptr, nullptr);
      if (connection < 0) return;
      answer(connection);
      ::close(connection);
    }
  }
  void answer(int connection) {
    std::string head;
    char buffer[4096];
    while (head.find("\r\n\r\n") == std::string::npos) {
      const ssize_t n = ::recv(connection, buffer, sizeof buffer, 0);
      if (n <= 0) return;
      head.append(buffer, static_cast<std::size_t>(n));
    }
    const std::size_t from = range_of(head);
    const std::string path = head.substr(4, head.find(' ', 4) - 4);
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back("GET " + path + (from > 0 ? " from " + std::to_string(from) : ""));
    }
    if (!redirect.empty() && path != redirect)
      return send(connection, "302 Found", "Location: " + redirect + "\r\n", "moved");
    if (status != 200) return send(connection, std::to_string(status) + " No", "", "<html>an error page</html>");
    if (from == 0 || !ranges) return send(connection, "200 OK", "", content);
    if (from >= content.size()) return send(connection, "416 Range Not Satisfiable", "", "no such range");
    const std::string range = "Content-Range: bytes " + std::to_string(from) + "-" +
                              std::to_string(content.size() - 1) + "/" + std::to_string(content.size()) + "\r\n";
    send(connection, "206 Partial Content", range, content.substr(from));
  }
  static std::size_t range_of(const std::string& head) {
    const std::string key = "Range: bytes=";
    const std::size_t at = head.find(key);
    return at == std::string::npos ? 0 : std::stoul(head.substr(at + key.size()));
  }
  void send(int connection, const std::string& line, const std::string& extra, const std::string& body) {
    const std::string head = "HTTP/1.1 " + line +
                             "\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
                             extra + "\r\n";
    std::string all = head + (cut_after > 0 ? body.substr(0, cut_after) : body);
    if (stalls) all = head;
    for (std::size_t sent = 0; sent < all.size();) {
      const ssize_t n = ::send(connection, all.data() + sent, all.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return;
      sent += static_cast<std::size_t>(n);
    }
    while (stalls && !stopping_) ::usleep(10'000);
  }

  int listener_ = -1, port_ = 0;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
  mutable std::mutex mutex_;
  std::vector<std::string> requests_;
};

}  // namespace ferry
