#include "nvinfer/progress.h"

#include <algorithm>

namespace ferry::nvinfer {

// The innermost phase of that name among the first `count`.
ProgressTree::Phase* ProgressTree::find(std::string_view name, std::size_t count) {
  while (count-- > 0) {
    if (phases_[count].name == name) return &phases_[count];
  }
  return nullptr;
}

// Sets a phase's own steps and carries the gain up: a step of a parent is one whole child.
void ProgressTree::advance(Phase& phase, double done) {
  const double before = phase.done / phase.steps;
  phase.done = std::clamp(done, phase.done, static_cast<double>(phase.steps));
  const double gain = phase.done / phase.steps - before;
  // A parent started before its child, so the search cannot go round in circles.
  if (Phase* parent = find(phase.parent, static_cast<std::size_t>(&phase - phases_.data()))) {
    // Never past the step that the parent is in: it will report that step itself.
    const double ceiling = std::max(parent->done, static_cast<double>(parent->steps) - 0.01);
    advance(*parent, std::min(parent->done + gain, ceiling));
  } else if (phase.parent.empty()) {
    shown_ = std::max(shown_, std::min(phase.done / phase.steps, 0.999));
  }
}

void ProgressTree::start(std::string_view name, std::string_view parent, int steps) {
  phases_.push_back({std::string(name), std::string(parent), std::max(steps, 1), 0});
}

void ProgressTree::step(std::string_view name, int index) {
  if (Phase* phase = find(name, phases_.size())) advance(*phase, index + 1.0);
}

void ProgressTree::finish(std::string_view name) {
  Phase* phase = find(name, phases_.size());
  if (phase == nullptr) return;
  advance(*phase, phase->steps);
  phases_.erase(phases_.begin() + (phase - phases_.data()));
}

}  // namespace ferry::nvinfer
