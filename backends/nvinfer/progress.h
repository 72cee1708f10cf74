// One bar out of a builder's nested phases.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ferry::nvinfer {

/// Phases start under a parent, count steps and finish; children split the step that their parent is in. `fraction`
/// never falls, whatever the builder reports (it announces steps that it never takes, and reports out of order).
class ProgressTree {
 public:
  void start(std::string_view name, std::string_view parent, int steps);
  void step(std::string_view name, int index);
  void finish(std::string_view name);

  double fraction() const noexcept { return shown_; }
  /// The innermost phase now; empty between phases.
  std::string current() const { return phases_.empty() ? std::string() : phases_.back().name; }

 private:
  struct Phase {
    std::string name, parent;
    int steps = 1;
    double done = 0;  // steps, fractions of children included
  };
  Phase* find(std::string_view name, std::size_t count);
  void advance(Phase& phase, double done);
  std::vector<Phase> phases_;  // from the outermost in
  double shown_ = 0;
};

}  // namespace ferry::nvinfer
