// The user's own PyTorch as a contestant: a Python worker in a process of its own (python/ferry_peers.py).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "context.h"
#include "ferry/compare.h"
#include "ferry/measure.h"
#include "signals.h"

namespace ferry::tool {

/// A child process that answers one line for each line. It gets no signal from the terminal, and ends with this
/// process.
class Worker {
 public:
  /// Throws Error(kBackend) if the program cannot be started. With `verbose` its stderr is shown.
  Worker(const std::vector<std::string>& command, bool verbose);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker();

  /// Sends a request and waits for the answer. Throws Error: kInterrupted on Ctrl-C, kRun if the worker ended or
  /// answered that it failed.
  Json ask(const Json& request);

 private:
  void send(const std::string& line);
  std::string receive();
  [[noreturn]] void fail_ended();

  int pid_ = -1, to_ = -1, from_ = -1;
  std::string buffer_;
};

/// $FERRY_PYTHON, else the python3 of $VIRTUAL_ENV, else python3.
std::string python_program();
/// The folder of ferry_peers.py: installed beside the tool, or in the source tree. Throws Error(kBackend).
std::string python_folder();

/// One way in which PyTorch's users run a network.
struct PeerMode {
  std::string mode;          // as in ferry_peers.py
  std::string display_name;  // "PyTorch eager"
  std::string precision;
};

/// PyTorch in Python with one network loaded.
class PythonPeers {
 public:
  /// Starts the worker and gives it the weights. `checkpoint` may be empty: the weights go over as a file then. Throws
  /// Error with the pip command if torch is missing.
  PythonPeers(const ResNet& network, const std::string& checkpoint, bool verbose);

  const Json& about() const noexcept { return about_; }  // versions, device, TF32 settings
  std::string version() const;                           // "torch 2.11.0, Python 3.11.2"
  std::string settings() const;                          // "TF32 off, inference mode, ..."
  bool on_gpu() const;
  /// The modes that make sense on this device, of the asked precisions.
  std::vector<PeerMode> modes(const std::vector<std::string>& precisions) const;

  /// Prepares one contestant (this is where torch.compile compiles) and returns its handle.
  int prepare(const PeerMode& mode, const TensorView& input);
  /// So many runs one after another, as fast as Python does them.
  std::vector<RunRecord> run(int id, bool resident, int count);
  Tensor output(int id);
  void drop(int id);

 private:
  TemporaryFolder folder_;
  Worker worker_;
  Json about_;
};

}  // namespace ferry::tool
