// The process side of the Python peers: start, one line each way, end.
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "ferry/error.h"
#include "python_peers.h"

namespace ferry::tool {
namespace {

// In the child, between fork and exec: only calls that are safe there.
[[noreturn]] void become(char* const* arguments, int channel, bool verbose, pid_t parent) {
  ::setpgid(0, 0);  // Ctrl-C is for the tool, which ends the worker in its own time
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);
  ::dup2(channel, STDIN_FILENO);
  ::dup2(channel, STDOUT_FILENO);
  const int null = verbose ? -1 : ::open("/dev/null", O_WRONLY);
  if (null >= 0) ::dup2(null, STDERR_FILENO);
  ::execvp(arguments[0], arguments);
  ::_exit(127);
}

}  // namespace

// A socket pair rather than pipes: writing to a worker that ended gives an error, not SIGPIPE.
Worker::Worker(const std::vector<std::string>& command, bool verbose) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    throw Error(Stage::kBackend, command[0], std::string("cannot start: ") + std::strerror(errno));
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) become(arguments.data(), ends[1], verbose, parent);
  const int failure = errno;
  ::close(ends[1]);
  to_ = from_ = ends[0];
  if (pid_ < 0) {
    ::close(ends[0]);
    throw Error(Stage::kBackend, command[0], std::string("cannot start: ") + std::strerror(failure));
  }
}

Worker::~Worker() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);  // it holds nothing that outlives it: its files are in the tool's temporary folder
    ::waitpid(pid_, nullptr, 0);
  }
  if (from_ >= 0) ::close(from_);
}

void Worker::fail_ended() {
  int status = 0;
  std::string how = "ended";
  if (pid_ > 0 && ::waitpid(pid_, &status, 0) == pid_) {
    pid_ = -1;
    if (WIFSIGNALED(status)) how = "was ended by signal " + std::to_string(WTERMSIG(status));
    if (WIFEXITED(status)) how = "ended with exit code " + std::to_string(WEXITSTATUS(status));
  }
  throw Error(Stage::kRun, "python", "the PyTorch worker " + how, "Run again with --verbose to see what it printed.");
}

void Worker::send(const std::string& line) {
  std::size_t sent = 0;
  while (sent < line.size()) {
    const ssize_t n = ::send(to_, line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_ended();
    sent += static_cast<std::size_t>(n);
  }
}

std::string Worker::receive() {
  for (;;) {
    if (const std::size_t end = buffer_.find('\n'); end != std::string::npos) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return line;
    }
    pollfd waiting{from_, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, 100);
    throw_if_interrupted();
    if (ready <= 0) continue;
    char chunk[4096];
    const ssize_t n = ::recv(from_, chunk, sizeof chunk, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail_ended();
    buffer_.append(chunk, static_cast<std::size_t>(n));
  }
}

Json Worker::ask(const Json& request) {
  if (pid_ < 0) fail_ended();
  send(request.dump() + "\n");
  const std::string line = receive();
  Json answer = Json::parse(line, nullptr, false);
  if (!answer.is_object() || !answer.contains("ok"))
    throw Error(Stage::kRun, "python", "the PyTorch worker answered something that is not an answer");
  if (!answer["ok"].get<bool>())
    throw Error(Stage::kRun, "python", answer.value("cause", std::string("failed")),
                answer.value("hint", std::string()));
  return answer;
}

}  // namespace ferry::tool
