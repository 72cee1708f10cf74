// gpu_nvinfer_times MODULE MODEL.onnx BATCH... : what the module itself adds to the SDK. Prints, for each batch,
// medians of device compute time (resident), of host-to-host time through staging memory with and without graphs, and
// of the host's share of it. The model has one float32 input [N,3,224,224]; the engine is built for exactly these
// batches and kept in MODEL.onnx.MODULE.plan.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "gpu/module.h"
#include "gpu/tiny_net.h"

namespace {

using namespace ferry::testing;
using Json = nlohmann::json;

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

struct Request {
  OpenedSession& session;
  const Module& module;
  std::int64_t batch;
  void *in = nullptr, *out = nullptr;

  void run(unsigned flags, ferry_times& times) {
    const void* const_in = in;
    const ferry_run_args args{sizeof args, batch, &const_in, &out, flags};
    module.check(module.api().submit(session.handle(), &args));
    module.check(module.api().wait(session.handle(), &times));
  }
};

struct Medians {
  double wall = 0, compute = 0, enqueue = 0;
};

Medians time_requests(Request& request, unsigned flags) {
  std::vector<double> wall, compute, enqueue;
  for (int i = 0; i < 220; ++i) {
    ferry_times times{};
    const auto begin = std::chrono::steady_clock::now();
    request.run(flags, times);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    if (i < 20) continue;
    wall.push_back(took.count());
    compute.push_back(times.compute_ms);
    enqueue.push_back(times.enqueue_ms);
  }
  return {median(wall), median(compute), median(enqueue)};
}

Medians measure(const Module& module, const std::string& plan, const std::string& options, std::int64_t batch,
                unsigned flags) {
  const OpenedEngine engine(module, plan, options);
  OpenedSession session(engine);
  Request request{session, module, batch};
  module.check(module.api().staging(session.handle(), batch, &request.in, &request.out));
  const auto images = TinyNet::images(49 * static_cast<std::size_t>(batch), 1);  // 3 * 224 * 224 = 49 * 3 * 32 * 32
  std::copy(images.begin(), images.end(), static_cast<float*>(request.in));
  ferry_times ignored{};
  request.run(0, ignored);
  return time_requests(request, flags);
}

std::string plan_for(const Module& module, const std::string& onnx_path, const std::string& name,
                     const std::vector<std::int64_t>& batches) {
  const std::string path = onnx_path + "." + name + ".plan";
  std::string plan = read(path);
  if (!plan.empty()) return plan;
  Json profiles = Json::array();
  for (const std::int64_t batch : batches) profiles.push_back({{"min", 1}, {"opt", batch}, {"max", batch}});
  const BuildOutput built = module.build({read(onnx_path), Json{{"profiles", profiles}}.dump()});
  std::printf("%s\n", built.report.c_str());
  std::ofstream(path, std::ios::binary) << built.plan;
  return built.plan;
}

int run(const std::string& name, const std::string& onnx_path, const std::vector<std::int64_t>& batches) {
  const auto module = Module::load(name);
  if (module == nullptr) throw std::runtime_error("no module " + name + " (set FERRY_BACKEND_PATH)");
  const std::string plan = plan_for(*module, onnx_path, name, batches);
  std::printf("%6s %18s %18s %18s %18s %14s\n", "batch", "device, resident", "host to host", "  without events",
              "  without graph", "enqueue graph");
  for (const std::int64_t batch : batches) {
    const Medians resident = measure(*module, plan, "{}", batch, FERRY_RUN_RESIDENT);
    const Medians full = measure(*module, plan, "{}", batch, 0);
    const Medians bare = measure(*module, plan, R"({"timing":false})", batch, 0);
    const Medians plain = measure(*module, plan, R"({"graphs":false})", batch, 0);
    std::printf("%6ld %15.4f ms %15.4f ms %15.4f ms %15.4f ms %11.4f ms\n", static_cast<long>(batch), resident.compute,
                full.wall, bare.wall, plain.wall, full.enqueue);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::fprintf(stderr, "usage: %s tensorrt|tensorrt_rtx MODEL.onnx BATCH...\n", argv[0]);
    return 2;
  }
  std::vector<std::int64_t> batches;
  for (int i = 3; i < argc; ++i) batches.push_back(std::atoll(argv[i]));
  try {
    return run(argv[1], argv[2], batches);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
