// Sessions of one engine, each in its thread.
#include "ferry/load.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "ferry/error.h"

namespace ferry {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMostRequests = 1'000'000;  // of a session in one turn: bounds memory
constexpr int kLooks = 8;                         // of `watch` in one turn
constexpr double kLeastBetweenLooks = 0.02;       // seconds

// All bits set is NaN in every floating-point type.
void poison(std::byte* data, std::size_t size) { std::memset(data, 0xFF, size); }

std::size_t argmax(const float* scores, std::size_t count) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < count; ++i)
    if (scores[i] > scores[best]) best = i;
  return best;
}

}  // namespace

const char* name_of(LoadKind kind) noexcept { return kind == LoadKind::kThroughput ? "throughput" : "end-to-end"; }

struct Load::Impl {
  /// One session with everything that its requests need.
  struct Worker {
    Worker(const Engine& engine, const TensorView& of) : session(engine.new_session()) {
      staging = session.staging(of.shape[0]);
      in = {staging.inputs[0]};
      out = staging.outputs;
      std::memcpy(staging.inputs[0], of.data, of.size_bytes());
    }
    Session session;
    Session::Staging staging;
    std::vector<const std::byte*> in;
    std::vector<std::byte*> out;
    std::vector<std::size_t> labels;  // end to end: what the caller is after
    std::vector<RequestSpan> spans;
    std::exception_ptr failure;
  };

  /// What the threads of one turn share.
  struct Shift {
    const double seconds;
    const int least;
    const bool resident;
    std::size_t working;  // sessions that have not stopped; with `mutex` and `ended`
    std::atomic<bool> stop{false}, go{false};
    std::atomic<std::size_t> content{0};  // sessions that have done their share: all go on until the last one has
    const Clock::time_point zero = Clock::now();
    std::mutex mutex{};
    std::condition_variable ended{};
  };

  Impl(const Engine& of, const TensorView& given, LoadKind what) : engine(of), kind(what), input(given) {
    const EngineInfo& info = engine.info();
    const bool top_k = info.outputs.size() == 2 && info.outputs[1].dtype == DType::kInt32;
    if (info.inputs.size() != 1 || (info.outputs.size() != 1 && !top_k) || info.inputs[0].shape.empty())
      throw Error(Stage::kMeasure, info.backend_display_name,
                  fmt::format("the engine has {} inputs and {} outputs; an image network has one input, and scores or "
                              "the best classes as output",
                              info.inputs.size(), info.outputs.size()));
    if (input.dtype != info.inputs[0].dtype) {
      converted = convert(input, info.inputs[0].dtype);
      input = converted.view();
    }
    batch = input.shape.at(0);
  }

  // The first request goes through `run`, which checks shape and type and knows the output's shape.
  void open_one() {
    auto worker = std::make_unique<Worker>(engine, input);
    if (output_shapes.empty())
      for (const Tensor& output : worker->session.run(std::vector<TensorView>{input}))
        output_shapes.push_back(output.shape());
    if (kind == LoadKind::kEndToEnd) worker->labels.resize(static_cast<std::size_t>(batch));
    for (int i = 0; i < 3; ++i) request(*worker);  // a graph is captured by the second
    RequestSpan unkept;
    if (engine.info().resident) compute(*worker, unkept);  // captured here, while no other session works
    workers.push_back(std::move(worker));
  }

  DType output_type(std::size_t i = 0) const { return engine.info().outputs[i].dtype; }
  TensorView output_of(const Worker& worker, std::size_t i) const {
    return {output_type(i), output_shapes[i], worker.out[i]};
  }

  void request(Worker& worker) const {
    if (kind == LoadKind::kEndToEnd) {
      const std::byte* ordinary = input.data;
      worker.in[0] = ordinary;
    }
    worker.session.submit(batch, worker.in, worker.out);
    worker.session.wait();
    if (kind == LoadKind::kEndToEnd) label(worker);
  }

  // The same network on inputs that are on the device. Events around it say when the device computed only while no
  // other session's work lies between them.
  void compute(Worker& worker, RequestSpan& span) const {
    worker.session.submit(batch, worker.in, worker.out, true);
    if (workers.size() > 1) return worker.session.wait();
    RunTimes times{};
    worker.session.wait(&times);
    span.compute_ms = times.compute_ms;
  }

  void work(Worker& worker, Shift& shift) const;
  static void look(Shift& shift, const std::function<void()>& watch);
  LoadTurn drive(double seconds, int least, bool resident, const std::function<void()>& watch);

  void label(Worker& worker) const {
    if (worker.out.size() > 1 || output_type() != DType::kFloat32) return;  // it gives classes already
    const auto classes = static_cast<std::size_t>(element_count(output_shapes[0]) / batch);
    const auto* scores = reinterpret_cast<const float*>(worker.out[0]);
    for (std::size_t i = 0; i < worker.labels.size(); ++i) worker.labels[i] = argmax(scores + i * classes, classes);
  }

  Engine engine;
  LoadKind kind;
  TensorView input;
  Tensor converted;
  std::int64_t batch = 0;
  std::vector<Shape> output_shapes;
  std::vector<std::unique_ptr<Worker>> workers;
};

Load::Load(const Engine& engine, const TensorView& input, LoadKind kind)
    : impl_(std::make_unique<Impl>(engine, input, kind)) {}
Load::Load(Load&&) noexcept = default;
Load& Load::operator=(Load&&) noexcept = default;
Load::~Load() = default;

int Load::sessions() const noexcept { return static_cast<int>(impl_->workers.size()); }
std::int64_t Load::batch() const noexcept { return impl_->batch; }

void Load::set_sessions(int count) {
  if (count < 1) throw Error(Stage::kUsage, "sessions", "there must be at least one session");
  const std::size_t before = impl_->workers.size();
  try {
    while (sessions() < count) impl_->open_one();
  } catch (...) {
    impl_->workers.resize(before);
    throw;
  }
  impl_->workers.resize(static_cast<std::size_t>(count));
}

void Load::Impl::work(Worker& worker, Shift& shift) const {
  const auto now_ms = [&] { return std::chrono::duration<double, std::milli>(Clock::now() - shift.zero).count(); };
  while (!shift.go.load(std::memory_order_acquire)) std::this_thread::yield();
  const double end = now_ms() + 1000 * shift.seconds;
  bool counted = false;
  try {
    while (!shift.stop.load(std::memory_order_relaxed) && worker.spans.size() < worker.spans.capacity()) {
      RequestSpan span;
      span.begin_ms = now_ms();
      if (shift.resident)
        compute(worker, span);
      else
        request(worker);
      span.end_ms = now_ms();
      worker.spans.push_back(span);
      const bool done = span.end_ms >= end && worker.spans.size() >= static_cast<std::size_t>(shift.least);
      if (done && !std::exchange(counted, true)) shift.content.fetch_add(1);
      if (shift.content.load() == workers.size()) break;
    }
  } catch (...) {
    worker.failure = std::current_exception();
    shift.stop.store(true);
  }
  const std::lock_guard lock(shift.mutex);
  --shift.working;
  shift.ended.notify_one();
}

// What the calling thread does meanwhile. It wakes as soon as the last session has stopped, so that the device does not
// cool down between this block and the next.
void Load::Impl::look(Shift& shift, const std::function<void()>& watch) {
  const std::chrono::duration<double> between(std::max(shift.seconds / kLooks, kLeastBetweenLooks));
  const auto over = [&shift] { return shift.working == 0; };
  std::unique_lock lock(shift.mutex);
  if (!watch) return shift.ended.wait(lock, over);
  for (bool looked = false; !looked || !over(); looked = true) {
    if (shift.ended.wait_for(lock, between, over) && looked) return;
    lock.unlock();
    watch();
    lock.lock();
  }
}

LoadTurn Load::Impl::drive(double seconds, int least, bool resident, const std::function<void()>& watch) {
  Shift shift{seconds, least, resident, workers.size()};
  // No engine answers within 20 us for long; if one does, its turn ends early.
  const auto most =
      std::min(kMostRequests, static_cast<std::size_t>(seconds * 50'000) + static_cast<std::size_t>(least) + 20'000);
  std::vector<std::thread> threads;
  for (const auto& worker : workers) {
    worker->spans.clear();
    worker->spans.reserve(most);
    worker->failure = nullptr;
    for (std::size_t i = 0; i < worker->out.size() && !resident; ++i)
      poison(worker->out[i], output_of(*worker, i).size_bytes());
    threads.emplace_back([this, &shift, of = worker.get()] { work(*of, shift); });
  }
  shift.go.store(true, std::memory_order_release);
  std::exception_ptr failure;  // of `watch`
  try {
    look(shift, watch);
  } catch (...) {
    failure = std::current_exception();
    shift.stop.store(true);
  }
  for (std::thread& thread : threads) thread.join();
  LoadTurn turn;
  for (const auto& worker : workers) {
    if (worker->failure) std::rethrow_exception(worker->failure);
    turn.push_back(worker->spans);
  }
  if (failure) std::rethrow_exception(failure);
  return turn;
}

LoadTurn Load::turn(double seconds, int least, const std::function<void()>& watch) {
  return impl_->drive(seconds, least, false, watch);
}

bool Load::has_resident() const noexcept { return impl_->engine.info().resident; }

LoadTurn Load::resident_turn(double seconds, int least, const std::function<void()>& watch) {
  return impl_->drive(seconds, least, true, watch);
}

std::vector<std::vector<Tensor>> Load::outputs() const {
  std::vector<std::vector<Tensor>> all;
  for (const auto& worker : impl_->workers) {
    std::vector<Tensor>& outputs = all.emplace_back();
    for (std::size_t i = 0; i < worker->out.size(); ++i) {
      const TensorView view = impl_->output_of(*worker, i);
      outputs.push_back(i == 0 ? convert(view, DType::kFloat32) : Tensor::copy_of(view));
    }
  }
  return all;
}

}  // namespace ferry
