#include "cuda/executor.h"

#include <atomic>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "cuda/engine.h"
#include "cuda/watchdog.h"
#include "nvinfer/failure.h"

namespace ferry::latency {

Executor::Executor(const Engine& engine, void* arena)
    : engine_(engine),
      arena_(static_cast<char*>(arena)),
      watchdog_seconds_(watchdog_seconds(std::getenv("FERRY_WATCHDOG"))),
      failed_(sizeof(unsigned)) {
  *static_cast<unsigned*>(failed_.data()) = 0;
}

void Executor::bind(int, std::int64_t batch, const std::vector<void*>& inputs, const std::vector<void*>& outputs,
                    CUstream_st* stream) {
  net_ = engine_.net_for(batch);
  net_.counter = reinterpret_cast<unsigned*>(arena_);
  net_.arena = arena_ + kCounterBytes;
  net_.input = static_cast<const float*>(inputs.front());
  net_.output = static_cast<float*>(outputs.front());
  net_.failed = static_cast<unsigned*>(failed_.data());  // pinned memory has one address on both sides
  net_.watchdog = watchdog_cycles(watchdog_seconds_);
  stream_ = stream;
  forget_meetings();
  if (engine_.device().major >= 9) describe_to_copy_engine(batch);
}

void Executor::describe_to_copy_engine(std::int64_t batch) {
  const Program& program = engine_.program_for(batch);
  const std::size_t size = maps_bytes(program);
  // What an earlier batch size left may still be on its way; it is replaced, not written over.
  maps_ = cuda::PinnedBuffer(size);
  device_maps_ = cuda::DeviceBuffer(size);
  write_maps(program, net_.arena, static_cast<char*>(maps_.data()));
  cuda::copy_to_device(device_maps_.data(), maps_.data(), size, stream_);
  net_.maps = static_cast<const char*>(device_maps_.data());
}

void Executor::forget_meetings() const { cuda::fill_bytes(arena_, 0, kCounterBytes, stream_); }

void Executor::enqueue(CUstream_st* stream) {
  const bool in_clusters = net_.exchange > 0;
  cuda::launch(engine_.kernel().function(in_clusters), engine_.kernel().launch(in_clusters), arguments_, stream);
}

void Executor::finish() {
  auto& failed = *static_cast<unsigned*>(failed_.data());
  if (std::atomic_ref(failed).load() == 0) return;
  failed = 0;
  forget_meetings();
  throw nvinfer::Failure(
      "GPU",
      "the parts of the kernel waited for each other for more than " + nlohmann::json(watchdog_seconds_).dump() +
          " seconds and gave up: the result is lost",
      "run again; another program may have held the GPU. If it comes back, use --backend tensorrt and "
      "please report it");
}

}  // namespace ferry::latency
