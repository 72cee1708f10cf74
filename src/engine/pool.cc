#include "ferry/pool.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "ferry/error.h"

namespace ferry {
// One lock around a short queue: a request takes it twice, for well under a microsecond, where an engine works for
// hundreds.
struct Pool::Impl {
  struct Request {
    Tensor owned;  // empty for a view
    TensorView input;
    Pool::Done done;
  };

  Impl(const Engine& engine, const PoolOptions& options) : most_waiting(std::max<std::size_t>(options.waiting, 1)) {
    if (options.sessions < 1) throw Error(Stage::kUsage, "sessions", "a pool needs at least one session");
    for (int i = 0; i < options.sessions; ++i) sessions.push_back(engine.new_session());
    try {
      for (Session& session : sessions) threads.emplace_back([this, &session] { work(session); });
    } catch (...) {
      end();
      throw;
    }
  }
  ~Impl() { end(); }

  void end() {
    {
      const std::lock_guard lock(mutex);
      ending = true;
    }
    filled.notify_all();
    for (std::thread& thread : threads) thread.join();
  }

  void submit(Request request) {
    std::unique_lock lock(mutex);
    emptied.wait(lock, [this] { return queue.size() < most_waiting; });
    queue.push_back(std::move(request));
    ++submitted;
    lock.unlock();
    filled.notify_one();
  }

  void work(Session& session) {
    for (;;) {
      std::unique_lock lock(mutex);
      filled.wait(lock, [this] { return ending || !queue.empty(); });
      if (queue.empty()) return;
      Request request = std::move(queue.front());
      queue.pop_front();
      const std::uint64_t number = begun++;
      running.push_back(number);
      lock.unlock();
      emptied.notify_one();
      answer(session, request);
      request = Request();  // what the caller gave is gone before `wait` returns
      lock.lock();
      std::erase(running, number);
      lock.unlock();
      answered.notify_all();
    }
  }

  static void answer(Session& session, Request& request) noexcept {
    Answer answer;
    try {
      answer.output = session.run(request.input, &answer.times);
    } catch (...) {
      answer.failure = std::current_exception();
    }
    request.done(std::move(answer));
  }

  void wait() {
    std::unique_lock lock(mutex);
    const std::uint64_t until = submitted;
    answered.wait(lock, [&] {
      const auto before = [&](std::uint64_t number) { return number < until; };
      return begun >= until && std::none_of(running.begin(), running.end(), before);
    });
  }

  std::mutex mutex;
  std::condition_variable filled, emptied, answered;
  std::deque<Request> queue;
  std::vector<std::uint64_t> running;  // numbers of the requests that sessions have now
  std::uint64_t submitted = 0, begun = 0;
  const std::size_t most_waiting;
  bool ending = false;
  std::vector<Session> sessions;
  std::vector<std::thread> threads;
};

Pool::Pool(const Engine& engine, const PoolOptions& options) : impl_(std::make_unique<Impl>(engine, options)) {}
Pool::~Pool() = default;

void Pool::submit(Tensor input, Done done) {
  Impl::Request request;
  request.owned = std::move(input);
  request.input = request.owned.view();  // its memory does not move with the tensor
  request.done = std::move(done);
  impl_->submit(std::move(request));
}

void Pool::submit_view(const TensorView& input, Done done) { impl_->submit({Tensor(), input, std::move(done)}); }

std::future<Tensor> Pool::submit(Tensor input) {
  const auto promise = std::make_shared<std::promise<Tensor>>();
  std::future<Tensor> future = promise->get_future();
  submit(std::move(input), [promise](Answer answer) {
    if (answer.failure) {
      promise->set_exception(answer.failure);
    } else {
      promise->set_value(std::move(answer.output));
    }
  });
  return future;
}

void Pool::wait() { impl_->wait(); }

}  // namespace ferry
