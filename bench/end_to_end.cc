// From JPEG bytes in memory to labels: what decoding alone reaches, what the engine alone reaches, what both together
// reach, and how long a single picture takes. One JSON object on stdout.
//   end_to_end MODEL FOLDER [BATCH [SECONDS [THREADS]]]
// Rates come from rounds in turns; beside them stands the CPU time of this process a picture, which other programs on a
// machine disturb much less: on a CPU engine that keeps all cores busy, its ratio is what the rates would have.
#include <fmt/format.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "ferry/ferry.h"

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// Of all threads of this process.
double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Rate {
  double images_per_second = 0, cpu_ms = 0;  // CPU time of an image
};

class Clocks {
 public:
  Rate rate(std::int64_t images) const {
    return {static_cast<double>(images) / seconds_since(begin_),
            1e3 * (cpu_seconds() - cpu_) / static_cast<double>(images)};
  }
  double seconds() const { return seconds_since(begin_); }

 private:
  Clock::time_point begin_ = Clock::now();
  double cpu_ = cpu_seconds();
};

std::vector<std::string> read_pictures(const std::string& folder) {
  std::vector<std::string> encoded;
  const std::unique_ptr<ferry::PictureSource> source = ferry::open_pictures({folder});
  for (ferry::Picture picture; source->next(picture); picture = {}) encoded.push_back(ferry::encoded_bytes(picture));
  return encoded;
}

struct Settings {
  std::int64_t batch = 0;
  double seconds = 3;
  int threads = 0;
};

// Pictures a second through decoding alone, on all threads; with `prepare` through resize, crop and normalise too.
double decoding(const std::vector<std::string>& encoded, const Settings& s, const ferry::Preprocessing& preset,
                bool prepare) {
  const int threads = s.threads > 0 ? s.threads : static_cast<int>(std::thread::hardware_concurrency());
  std::atomic<std::size_t> next = 0;
  const Clock::time_point begin = Clock::now();
  {
    std::vector<std::jthread> workers;
    for (int t = 0; t < threads; ++t)
      workers.emplace_back([&] {
        ferry::Preprocessor preprocessor(preset);
        ferry::ImageU8 memory;
        std::vector<float> planes(preprocessor.floats());
        while (seconds_since(begin) < s.seconds) {
          const std::string& bytes = encoded[next++ % encoded.size()];
          const ferry::ImageView image = ferry::decode_part(bytes, "picture", {}, preset, memory);
          if (prepare) preprocessor.run(image, planes.data());
        }
      });
  }
  return static_cast<double>(next) / seconds_since(begin);
}

// Pictures a second through the engine alone: prepared inputs in staging memory, as many requests in flight as streams
// of pictures have.
Rate inference(const ferry::Engine& engine, std::int64_t batch, double seconds) {
  std::vector<ferry::Session> sessions;
  std::vector<ferry::Session::Staging> memory;
  const std::size_t in_flight = engine.info().device.kind == "gpu" ? 3 : 1;
  for (std::size_t i = 0; i < in_flight; ++i) {
    sessions.push_back(engine.new_session());
    memory.push_back(sessions.back().staging(batch));
  }
  const auto start = [&](std::size_t i) {
    sessions[i].submit(batch, {memory[i].inputs.begin(), memory[i].inputs.end()}, memory[i].outputs);
  };
  for (int warm = 0; warm < 3; ++warm)
    for (std::size_t i = 0; i < in_flight; ++i) start(i), sessions[i].wait();
  for (std::size_t i = 0; i < in_flight; ++i) start(i);
  std::int64_t done = 0;
  const Clocks clocks;
  for (std::size_t i = 0; clocks.seconds() < seconds; i = (i + 1) % in_flight, done += batch) {
    sessions[i].wait();
    start(i);
  }
  const Rate rate = clocks.rate(done);
  for (ferry::Session& session : sessions) session.wait();
  return rate;
}

Rate together(const ferry::Classifier& classifier, const std::vector<std::string>& encoded, double seconds,
              std::int64_t& batch) {
  std::int64_t done = 0;
  const Clocks clocks;
  while (done == 0 || clocks.seconds() < seconds) {
    const std::unique_ptr<ferry::PictureSource> source = ferry::pictures_in_memory(encoded);
    const ferry::ClassifyReport report = classifier.classify_all(*source, [](ferry::Classified&&) { return true; });
    done += static_cast<std::int64_t>(report.classified);
    batch = report.batch;
  }
  return clocks.rate(done);
}

ferry::Statistics single(const ferry::Classifier& classifier, const std::vector<std::string>& encoded, double seconds) {
  std::vector<double> milliseconds;
  const Clock::time_point begin = Clock::now();
  for (std::size_t i = 0; seconds_since(begin) < seconds || i < 20; ++i) {
    const Clock::time_point one = Clock::now();
    classifier.classify_bytes(encoded[i % encoded.size()]);
    if (i >= 10) milliseconds.push_back(1e3 * seconds_since(one));
  }
  return ferry::statistics(milliseconds);
}

// What the engine alone would take a round for, and several batches, since filling and emptying the pipeline is part of
// each round: on a CPU a folder of photographs would take minutes.
std::vector<std::string> enough_for_a_round(const ferry::Engine& engine, std::vector<std::string> encoded,
                                            std::int64_t batch, double seconds) {
  const double rate = inference(engine, batch, seconds).images_per_second;
  const auto wanted = static_cast<std::size_t>(std::max(seconds * rate, 8.0 * static_cast<double>(batch)));
  const std::size_t whole_batches = (wanted + batch - 1) / batch * batch;
  if (encoded.size() > whole_batches) encoded.resize(whole_batches);
  return encoded;
}

int run(const std::string& model, const std::string& folder, const Settings& s) {
  std::vector<std::string> encoded = read_pictures(folder);
  ferry::ClassifierOptions options;
  options.batch = s.batch;
  options.threads = s.threads;
  const ferry::Classifier classifier = ferry::Classifier::open(model, options);
  const ferry::Preprocessing& preset = classifier.preprocessing();
  constexpr int kRounds = 15;
  std::int64_t batch = s.batch;
  together(classifier, {encoded.begin(), encoded.begin() + std::min<std::ptrdiff_t>(64, std::ssize(encoded))}, 0,
           batch);  // warms up, and tells the batch
  encoded = enough_for_a_round(classifier.engine(), std::move(encoded), batch, s.seconds / kRounds);
  std::vector<double> alone, both, share, alone_cpu, both_cpu, cpu_share;
  for (int round = 0; round < kRounds; ++round) {  // in turns, so that drift hits both alike
    const Rate one = inference(classifier.engine(), batch, s.seconds / kRounds),
               two = together(classifier, encoded, s.seconds / kRounds, batch);
    alone.push_back(one.images_per_second), both.push_back(two.images_per_second);
    alone_cpu.push_back(one.cpu_ms), both_cpu.push_back(two.cpu_ms);
    share.push_back(two.images_per_second / one.images_per_second);
    cpu_share.push_back(one.cpu_ms / two.cpu_ms);
  }
  const auto median = [](const std::vector<double>& of) { return ferry::statistics(of).median; };
  const ferry::Statistics latency = single(classifier, encoded, s.seconds);
  const double decode = decoding(encoded, s, preset, false), prepare = decoding(encoded, s, preset, true);
  fmt::print(
      "{{\"model\":\"{}\",\"engine\":\"{}\",\"device\":\"{}\",\"pixels_to_device\":{},\"pictures\":{},\"batch\":{},"
      "\"threads\":{},\"decode_images_per_second\":{:.1f},\"decode_and_prepare_images_per_second\":{:.1f},"
      "\"engine_images_per_second\":{:.1f},\"end_to_end_images_per_second\":{:.1f},\"share_of_engine\":{:.4f},"
      "\"engine_cpu_ms\":{:.3f},\"end_to_end_cpu_ms\":{:.3f},\"share_by_cpu_time\":{:.4f},\"rounds\":{},"
      "\"single_median_ms\":{:.4f},\"single_p90_ms\":{:.4f},\"single_p99_ms\":{:.4f}}}\n",
      model, classifier.engine().info().backend, classifier.engine().info().device.name,
      classifier.engine().info().images, encoded.size(), batch,
      s.threads > 0 ? s.threads : static_cast<int>(std::thread::hardware_concurrency()), decode, prepare, median(alone),
      median(both), median(share), median(alone_cpu), median(both_cpu), median(cpu_share), kRounds, latency.median,
      latency.p90, latency.p99);
  return 0;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 3) return fmt::print(stderr, "usage: end_to_end MODEL FOLDER [BATCH [SECONDS [THREADS]]]\n"), 2;
  Settings settings;
  if (argc > 3) settings.batch = std::atoll(argv[3]);
  if (argc > 4) settings.seconds = std::atof(argv[4]);
  if (argc > 5) settings.threads = std::atoi(argv[5]);
  return run(argv[1], argv[2], settings);
} catch (const ferry::Error& error) {
  fmt::print(stderr, "end_to_end: {}\n", error.what());
  return 1;
}
