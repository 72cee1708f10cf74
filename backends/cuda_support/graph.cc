#include "cuda_support/graph.h"

#include "cuda_support/driver.h"
#include "cuda_support/error.h"

namespace ferry::cuda {
namespace {

// The recorded work, before it is executable. Only `capture` needs it.
class Graph {
 public:
  explicit Graph(CUgraph handle) : handle_(handle) {}
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  ~Graph() {
    if (handle_ != nullptr) check_in_destructor(driver_if_loaded()->cuGraphDestroy(handle_), "cuGraphDestroy");
  }
  CUgraph handle() const noexcept { return handle_; }

 private:
  CUgraph handle_;
};

CUgraph record(const Stream& stream, const std::function<void()>& enqueue) {
  check(driver().cuStreamBeginCapture_v2(stream.handle(), CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), "cuStreamBeginCapture");
  CUgraph graph = nullptr;
  try {
    enqueue();
  } catch (...) {
    // The capture must end whatever happened; its own complaint would hide the first cause.
    if (driver().cuStreamEndCapture(stream.handle(), &graph) == CUDA_SUCCESS) const Graph discarded(graph);
    throw;
  }
  check(driver().cuStreamEndCapture(stream.handle(), &graph), "cuStreamEndCapture");
  return graph;
}

}  // namespace

GraphExec GraphExec::capture(const Stream& stream, const std::function<void()>& enqueue) {
  const Graph graph(record(stream, enqueue));
  GraphExec executable;
  check(driver().cuGraphInstantiateWithFlags(&executable.handle_, graph.handle(), 0), "cuGraphInstantiateWithFlags");
  check(driver().cuGraphUpload(executable.handle_, stream.handle()), "cuGraphUpload");
  return executable;
}

GraphExec::~GraphExec() {
  if (handle_ != nullptr) check_in_destructor(driver_if_loaded()->cuGraphExecDestroy(handle_), "cuGraphExecDestroy");
}

void GraphExec::launch(const Stream& stream) const {
  check(driver().cuGraphLaunch(handle_, stream.handle()), "cuGraphLaunch");
}

}  // namespace ferry::cuda
