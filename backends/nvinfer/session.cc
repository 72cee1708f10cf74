#include "nvinfer/session.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>

#include "cuda_support/error.h"
#include "nvinfer/failure.h"

namespace ferry::nvinfer {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

std::size_t bytes(const Port& port, std::int64_t batch) { return port.row_bytes * static_cast<std::size_t>(batch); }

void check_pointers(const void* const* pointers, const std::vector<Port>& ports, const char* side) {
  for (std::size_t i = 0; i < ports.size(); ++i) {
    if (pointers == nullptr || pointers[i] == nullptr) {
      throw Failure(ports[i].name, std::string("no memory was given for ") + side + " '" + ports[i].name + "'", "");
    }
  }
}

}  // namespace

Session::Session(Network& network, const OpenOptions& options, Say say)
    : network_(network),
      options_(options),
      say_(std::move(say)),
      arena_(network.arena_bytes()),
      staging_(network.inputs(), network.outputs()),
      uploader_(options.copy_threads, !options.block),
      targets_(network.outputs().size()) {
  if (options_.block) done_.emplace(cuda::Event::Wait::kBlocking);
}

Session::~Session() {
  if (!in_flight_ && !quick_) return;  // the device may still be busy behind the flag of a quick request
  try {
    stream_.synchronize();        // buffers must not go while the device still writes to them
  } catch (const cuda::Error&) {  // a lost device writes no more
  }
}

void Session::reserve(std::int64_t batch, Staging::Asked asked) {
  if (staging_.holds(batch)) return;
  if (quick_) stream_.synchronize();
  staging_.reserve(batch, asked);
  for (const auto& lane : lanes_) lane->staging_moved();
}

void Session::staging(std::int64_t batch, void** inputs, void** outputs) {
  if (in_flight_) throw Failure("", "staging was asked for while a request is in flight", "call wait first");
  pick_profile(network_.profiles(), batch);
  reserve(batch, Staging::Asked::kByCaller);
  for (std::size_t i = 0; i < network_.inputs().size(); ++i) inputs[i] = staging_.input(i);
  for (std::size_t i = 0; i < network_.outputs().size(); ++i) outputs[i] = staging_.output(i);
}

Lane& Session::lane_for(std::int64_t batch) {
  for (const auto& lane : lanes_) {
    if (lane->batch() == batch) return *lane;
  }
  return make_lane(batch);
}

Lane& Session::make_lane(std::int64_t batch) {
  pick_profile(network_.profiles(), batch);  // refuse before anything is given up
  if (lanes_.size() < options_.batch_limit) {
    lanes_.push_back(std::make_unique<Lane>(network_.make_executor(arena_.data(), arena_.size())));
    lanes_.back()->bind(network_, batch, stream_);
    return *lanes_.back();
  }
  const auto older = [](const auto& a, const auto& b) { return a->last_used < b->last_used; };
  Lane& oldest = **std::min_element(lanes_.begin(), lanes_.end(), older);
  if (quick_) stream_.synchronize();
  oldest.bind(network_, batch, stream_);
  return oldest;
}

void Session::require_idle() const {
  if (in_flight_)
    throw Failure("", "a request is already in flight in this session", "call wait first, or open another session");
}

void Session::check(const ferry_run_args& args, bool resident, bool fetches) const {
  require_idle();
  if (!resident) check_pointers(args.inputs, network_.inputs(), "input");
  if (!resident || fetches) {
    check_pointers(const_cast<const void* const*>(args.outputs), network_.outputs(), "output");
  }
}

void Session::copy_outputs() const {
  for (std::size_t i = 0; i < targets_.size(); ++i) {
    const void* staged = staging_.output(i);
    if (targets_[i] != staged) std::memmove(targets_[i], staged, bytes(network_.outputs()[i], request_.batch));
  }
}

// A GPU without code in the kernels, or ferry without nvcc: requests are copied, as large ones are.
Quick* Session::quick_for(const Request& request) {
  if (!options_.quick || !options_.graphs || options_.block || no_quick_) return nullptr;
  if (!fits_quick(network_.inputs(), network_.outputs(), request.batch)) return nullptr;
  if (!quick_) quick_ = Quick::make();
  no_quick_ = !quick_;
  return quick_.get();
}

void Session::start(Lane& lane, const ferry_run_args& args) {
  if (!request_.resident) {
    // Out of the staging there is no copy on the host to hide, and the copy engine is the quicker way over the bus.
    const bool staged = args.inputs[0] == staging_.input(0);
    if (Quick* quick = staged ? nullptr : quick_for(request_))
      request_.quick = lane.run_quick(network_, staging_, args.inputs[0], uploader_, *quick, stream_);
    if (request_.quick) return;
    lane.run(network_, staging_, args.inputs, uploader_, stream_, marks(), options_.graphs);
    return;
  }
  if (!lane.has_inputs()) {
    throw Failure("batch " + std::to_string(args.batch), "nothing is on the device yet for this batch size",
                  "run once with inputs before asking for resident runs");
  }
  lane.run_resident(stream_, marks(), options_.graphs);
  if (!request_.fetches) return;
  lane.fetch(network_, staging_, stream_);
  if (options_.timing) marks_.end.record(stream_);
}

void Session::submit(const ferry_run_args& args) {
  const bool resident = (args.flags & FERRY_RUN_RESIDENT) != 0;
  const bool fetches = !resident || (args.flags & FERRY_RUN_FETCH) != 0;
  check(args, resident, fetches);
  begin({resident, fetches, args.batch}, args.outputs, [&](Lane& lane) { start(lane, args); });
  if (!resident) uploader_.expect_another();
}

void Session::begin(const Request& request, void* const* outputs, const std::function<void(Lane&)>& start) {
  const Clock::time_point began = Clock::now();
  Lane& lane = lane_for(request.batch);
  lane.last_used = ++uses_;
  if (request.fetches) {
    reserve(request.batch, Staging::Asked::kInternally);
    std::copy_n(outputs, targets_.size(), targets_.begin());
  }
  request_ = request;
  request_.lane = &lane;
  in_flight_ = true;
  try {
    start(lane);
    if (done_) done_->record(stream_);
  } catch (...) {
    try {
      stream_.synchronize();        // what was enqueued before the failure must not run into the next request
    } catch (const cuda::Error&) {  // the first failure is the one to report
    }
    in_flight_ = false;
    throw;
  }
  if (std::string refusal = lane.take_refusal(); !refusal.empty() && !std::exchange(warned_, true)) {
    say_(1, "CUDA graph not used, kernels are launched one by one: " + refusal);
  }
  if (const std::string delay = lane.take_delay(); !delay.empty())
    say_(3, "CUDA graph of batch " + std::to_string(lane.batch()) + " put off until it has run once: " + delay);
  request_.enqueue_ms = milliseconds_since(began);
}

void* Session::image_staging(std::uint64_t size) {
  require_idle();
  if (!preparer_) {
    const std::vector<Port>& in = network_.inputs();
    const auto input = in.size() == 1 ? pictures::input_for(in[0].dtype, in[0].shape) : std::nullopt;
    if (!input) throw Failure("", "the engine's input is not a batch of square pictures", "", FERRY_UNSUPPORTED);
    if (!pictures::kernels().compiled()) throw Failure("", cuda::kNoKernels, cuda::kNoKernelsRemedy, FERRY_UNSUPPORTED);
    preparer_ = std::make_unique<pictures::Preparer>(*input);
  }
  return preparer_->staging(size);
}

void Session::submit_images(const ferry_images_args& args) {
  require_idle();
  if (!preparer_) throw Failure("", "there are no pictures yet", "call image_staging first");
  check_pointers(const_cast<const void* const*>(args.outputs), network_.outputs(), "output");
  const std::string refusal = pictures::refusal(args, preparer_->input(), preparer_->staging_bytes());
  if (!refusal.empty()) throw Failure("", "the pictures cannot be prepared: " + refusal, "");
  begin({false, true, args.batch}, args.outputs, [&](Lane& lane) {
    lane.run_prepared([&](void* input) { preparer_->enqueue(args, input, stream_); }, network_, staging_, stream_,
                      marks(), options_.graphs);
  });
}

ferry_times Session::times() const {
  ferry_times now{request_.enqueue_ms, kUnknown, kUnknown, kUnknown};
  if (!options_.timing) return now;
  if (request_.quick) {
    const Quick::Times measured = quick_->times();
    now.h2d_ms = measured.fetch_ms;
    now.compute_ms = measured.compute_ms;
    now.d2h_ms = measured.answer_ms;
    return now;
  }
  now.h2d_ms = request_.resident ? 0 : cuda::Event::elapsed_ms(marks_.begin, marks_.uploaded);
  now.compute_ms = cuda::Event::elapsed_ms(marks_.uploaded, marks_.computed);
  now.d2h_ms = request_.fetches ? cuda::Event::elapsed_ms(marks_.computed, marks_.end) : 0;
  return now;
}

// The input is in the staging by now. Whatever kept the host will do so again: no more quick requests.
void Session::repeat_copied() {
  say_(1, "a quick request waited in vain for its input: requests are copied from now on");
  no_quick_ = true;
  request_.quick = false;
  const void* staged = staging_.input(0);
  request_.lane->run(network_, staging_, &staged, uploader_, stream_, marks(), options_.graphs);
  stream_.synchronize();
}

void Session::wait(ferry_times* times_out) {
  if (!in_flight_) throw Failure("", "wait was called without a request in flight", "call submit first");
  in_flight_ = false;
  if (request_.quick) {
    if (!quick_->await(stream_)) repeat_copied();
  } else if (done_) {
    done_->synchronize();
  } else {
    stream_.synchronize();
  }
  request_.lane->finish();
  if (request_.fetches) copy_outputs();
  if (times_out != nullptr) *times_out = times();
}

nlohmann::json Session::profile(std::int64_t batch, int runs) {
  constexpr int kWarmUp = 3, kMostRuns = 10'000;
  if (in_flight_) throw Failure("", "a profile was asked for while a request is in flight", "call wait first");
  if (runs < 1 || runs > kMostRuns) throw Failure("runs", "a profile takes 1 to 10000 runs", "");
  Lane& lane = lane_for(batch);
  lane.last_used = ++uses_;
  if (!lane.has_inputs()) {
    throw Failure("batch " + std::to_string(batch), "nothing is on the device yet for this batch size",
                  "run once with inputs before asking for a profile");
  }
  // An executor of its own: with a profiler attached, work is neither asynchronous nor capturable.
  const std::unique_ptr<Executor> executor = network_.make_executor(arena_.data(), arena_.size());
  lane.lend(network_, *executor, stream_);
  executor->time_layers(stream_.handle(), kWarmUp);
  const auto samples = executor->time_layers(stream_.handle(), runs);
  stream_.synchronize();
  nlohmann::json json =
      join_layers(executor->layers_json(), medians(samples), batch, pick_profile(network_.profiles(), batch));
  json["batch"] = batch;
  json["runs"] = runs;
  return json;
}

}  // namespace ferry::nvinfer
