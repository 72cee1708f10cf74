// Progress of long work: a bar on a terminal, one line for each job otherwise.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "context.h"
#include "ferry/backend.h"

namespace ferry::tool {

/// Shows one job ("building the fp16 engine with TensorRT for RTX") from construction to destruction. Its callback
/// turns Ctrl-C into cancellation and may be called from any thread, also after other callbacks of the same job have
/// ended.
class Job {
 public:
  /// With a `unit` ("pictures"), the rate so far is shown too: "812 pictures/s".
  Job(const Context& context, std::string name, std::string unit = {});
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;
  ~Job();

  Progress progress();
  double seconds() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// "[=====>    ]" or a smooth bar where the terminal speaks UTF-8.
std::string bar(double share, int columns, bool unicode);
/// The rest at the speed so far: "eta 12 s"; empty as long as nothing can be said.
std::string eta(double seconds_so_far, double share);

}  // namespace ferry::tool
