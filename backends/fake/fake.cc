// A module for tests: deterministic, without an SDK, and failing on demand (faults.h).
#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <memory>
#include <thread>

#include "cuda_pictures/plan.h"
#include "fake/faults.h"
#include "fake/network.h"
#include "fake/pace.h"
#include "module/module.h"

using nlohmann::json;
using namespace ferry::fake;
using ferry::module::Failure;
using ferry::module::guard;

struct ferry_engine {
  Network network;
  json profiles;                // of a plan; empty for ONNX
  std::int64_t max_batch = -1;  // -1: any
  bool proof = true;
  std::int64_t streamable = 0, budget = 0;  // of a plan built for weight streaming
};

struct ferry_session {
  const ferry_engine* engine;
  std::vector<float> input, output;                // staging
  std::vector<float> device_input, device_output;  // mode resident: of the last request
  std::vector<std::uint8_t> pictures;
  bool running = false;
  double compute_ms = 0, copies_ms = 0;
};

namespace {

json device_json() {
  const std::string gpu = environment("GPU");
  if (gpu.empty()) return {{"kind", "cpu"}, {"index", 0}, {"name", "Fake device"}};
  const std::size_t first = gpu.find(','), second = gpu.find(',', first + 1);
  if (second == std::string::npos) throw Failure("FERRY_FAKE_GPU", "needs name,compute capability,driver");
  return {{"kind", "gpu"},
          {"index", 0},
          {"name", gpu.substr(0, first)},
          {"compute_capability", gpu.substr(first + 1, second - first - 1)},
          {"driver", gpu.substr(second + 1)},
          {"memory_bytes", std::int64_t{8} << 30}};
}

std::string version() { return environment("VERSION", "1.0.0"); }

json proof_json(const Network& network) {
  int layers = 0;
  for (const auto& [type, count] : network.layers_by_type) layers += count;
  json by_type = network.layers_by_type;
  if (mode("float_engine")) by_type = {{"Float", layers}};
  return {{"layers", layers}, {"by_type", by_type}};
}

json device_text(const char* key) {
  const json device = device_json();
  return device.contains(key) ? device[key] : json(nullptr);
}

ferry_status describe(ferry_sink sink) {
  return guard([&] {
    fail_if_asked("describe");
    ferry::module::write(sink, json{{"name", kName},
                                    {"display_name", kDisplayName},
                                    {"opens", {"plan", "onnx"}},
                                    {"builds", true},
                                    {"kind", "cpu"},
                                    {"reference", false},
                                    {"precisions", {"fp32"}},
                                    {"compiled_against", "1.0.0"}});
  });
}

ferry_status supported(ferry_sink sink) {
  return guard([&] {
    fail_if_asked("supported");
    json answer{{"usable", true}, {"can_build", true}, {"library", "none"}, {"version", version()}};
    answer["devices"] = json::array({device_json()});
    if (mode("no_library"))
      answer = {{"usable", false}, {"reason", "the fake SDK is missing"}, {"remedy", "unset FERRY_FAKE_MODE"}};
    ferry::module::write(sink, answer);
  });
}

void report_steps(const ferry_progress& progress) {
  const int steps = mode("slow_build") ? 100 : 4;
  for (int step = 1; step <= steps; ++step) {
    if (mode("slow_build")) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    if (progress.step != nullptr && progress.step(progress.user, "Building engine", step, steps) != 0)
      throw Failure("", "the build was cancelled", "", FERRY_CANCELLED);
  }
}

json report_json(const json& options, const Network& network, double seconds, std::int64_t streamable) {
  return {{"sdk", kDisplayName},
          {"sdk_version", version()},
          {"gpu", environment("GPU").empty() ? json(nullptr) : device_text("name")},
          {"compute_capability", device_text("compute_capability")},
          {"driver", device_text("driver")},
          {"seconds", seconds},
          {"workspace_bytes", options.value("workspace_bytes", json(nullptr))},
          {"profiles", options.value("profiles", json::array())},
          {"streamable_weights_bytes", streamable},
          {"precision_proof", proof_json(network)}};
}

ferry_status build(const ferry_build_args* args) {
  return guard([&] {
    fail_if_asked("build");
    const auto begin = std::chrono::steady_clock::now();
    const json options = ferry::module::options(
        args->options_json,
        {"profiles", "target", "workspace_bytes", "optimization_level", "tf32", "device", "weight_streaming"});
    const Network network = Network::from_onnx({static_cast<const char*>(args->onnx), args->onnx_size});
    ferry::module::log(args->log, 2, "the fake build begins");
    report_steps(args->progress);
    const std::int64_t streamable =
        options.value("weight_streaming", false) ? static_cast<std::int64_t>(args->onnx_size) : 0;
    const json plan{{"format", "ferry fake plan"},
                    {"version", version()},
                    {"profiles", options.value("profiles", json::array())},
                    {"streamable", streamable},
                    {"network", network.to_json()}};
    if (!mode("empty_plan")) ferry::module::write(args->plan, plan);
    if (args->timing_cache_out.write != nullptr) ferry::module::write(args->timing_cache_out, json{{"fake cache", 1}});
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
    ferry::module::write(args->report_json, report_json(options, network, spent.count(), streamable));
  });
}

ferry_engine open_plan(std::string_view bytes) {
  const json plan = json::parse(bytes, nullptr, false);
  if (!plan.is_object() || plan.value("format", "") != "ferry fake plan")
    throw Failure("", "these bytes are no fake plan");
  if (plan.at("version") != version())
    throw Failure("", "the plan is of version " + plan.at("version").get<std::string>() + ", this is " + version());
  ferry_engine engine{Network::from_json(plan.at("network")), plan.at("profiles"), -1};
  for (const json& profile : engine.profiles)
    engine.max_batch = std::max(engine.max_batch, profile.at("max").get<std::int64_t>());
  engine.budget = engine.streamable = plan.at("streamable").get<std::int64_t>();
  return engine;
}

void place_weights(ferry_engine& engine, std::int64_t budget) {
  if (engine.streamable == 0)
    throw Failure("weight_budget_bytes", "the plan was built to keep all its weights on the device",
                  "leave the budget out (--weight-budget), or build again with --weight-streaming");
  engine.budget = std::min(budget, engine.streamable);
}

ferry_status open(const ferry_open_args* args, ferry_engine** engine) {
  return guard([&] {
    fail_if_asked("open");
    const json options = ferry::module::options(
        args->options_json,
        {"device", "precision", "threads", "graphs", "prefer_cpu", "layer_info", "proof", "weight_budget_bytes"});
    if (args->plan != nullptr) {
      ferry_engine opened = open_plan({static_cast<const char*>(args->plan), args->plan_size});
      opened.proof = options.value("proof", true);
      if (options.contains("weight_budget_bytes")) place_weights(opened, options["weight_budget_bytes"]);
      *engine = new ferry_engine(std::move(opened));
    } else if (args->onnx != nullptr) {
      const Network network = Network::from_onnx({static_cast<const char*>(args->onnx), args->onnx_size});
      *engine = new ferry_engine{network, json::array(), -1};
    } else {
      throw Failure("", "the fake engine opens plans and ONNX", "", FERRY_UNSUPPORTED);
    }
  });
}

json port_json(const Port& port) {
  std::vector<std::int64_t> shape = port.shape;
  if (mode("zero_batch")) shape[0] = 0;
  return {{"name", port.name}, {"dtype", 1}, {"shape", shape}};
}

ferry_status io(ferry_engine* engine, ferry_sink sink) {
  return guard([&] {
    fail_if_asked("io");
    const json streaming = {{"streamable_bytes", engine->streamable}, {"budget_bytes", engine->budget}};
    ferry::module::write(sink, json{{"inputs", {port_json(engine->network.input)}},
                                    {"outputs", {port_json(engine->network.output)}},
                                    {"profiles", engine->profiles},
                                    {"max_batch", engine->max_batch < 0 ? json(nullptr) : json(engine->max_batch)},
                                    {"device", device_json()},
                                    {"sdk_version", version()},
                                    {"device_memory_bytes", engine->budget},
                                    {"weight_streaming", engine->streamable > 0 ? streaming : json(nullptr)},
                                    {"resident", mode("resident")},
                                    {"images", mode("images")},
                                    {"precision_proof", engine->proof ? proof_json(engine->network) : json(nullptr)}});
  });
}

ferry_status open_session(ferry_engine* engine, ferry_session** session) {
  return guard([&] {
    fail_if_asked("open_session");
    *session = new ferry_session{engine, {}, {}, {}, {}, {}, false, 0, 0};
  });
}

ferry_status staging(ferry_session* session, int64_t batch, void** inputs, void** outputs) {
  return guard([&] {
    fail_if_asked("staging");
    const Network& network = session->engine->network;
    const auto grow = [batch](std::vector<float>& v, std::int64_t n) {
      v.resize(std::max<std::size_t>(v.size(), n * batch));
    };
    grow(session->input, network.input.elements_per_image());
    grow(session->output, network.output.elements_per_image());
    inputs[0] = session->input.data();
    outputs[0] = session->output.data();
  });
}

void run(const Network& network, std::int64_t batch, const float* input, float* output) {
  const std::int64_t count = batch * network.output.elements_per_image();
  if (mode("unwritten")) return;
  Network used = network;
  if (mode("other_network")) used.onnx_hash = network.onnx_hash + 128;
  used.run(batch, input, output);
  if (mode("other_network")) std::reverse(output, output + count);
  if (mode("zeros")) std::fill(output, output + count, 0.0f);
  if (mode("nan")) output[count / 2] = std::numeric_limits<float>::quiet_NaN();
}

void start(ferry_session* session, std::int64_t batch, const float* input, float* output, bool copies = true) {
  if (session->running) throw Failure("", "the session already has a request under way");
  if (session->engine->max_batch >= 0 && batch > session->engine->max_batch)
    throw Failure("", "the batch is above the plan's", "", FERRY_UNSUPPORTED);
  const Pace least = pace();
  const auto begin = std::chrono::steady_clock::now();
  run(session->engine->network, batch, input, output);
  wait_until(begin, least.fixed + least.each * static_cast<double>(batch));
  session->compute_ms = milliseconds_since(begin);
  const auto computed = std::chrono::steady_clock::now();
  if (copies) wait_until(computed, least.copies);
  session->copies_ms = copies ? milliseconds_since(computed) : 0;
  session->running = true;
}

// As on a GPU: the inputs are those of the last request, and outputs stay where they are unless they are fetched.
void start_resident(ferry_session* session, const ferry_run_args& args) {
  const Network& network = session->engine->network;
  if (!mode("resident")) throw Failure("", "no resident mode", "", FERRY_UNSUPPORTED);
  if (session->device_input.size() != static_cast<std::size_t>(args.batch * network.input.elements_per_image()))
    throw Failure("", "nothing is on the device yet for this batch size");
  session->device_output.assign(static_cast<std::size_t>(args.batch * network.output.elements_per_image()),
                                std::numeric_limits<float>::quiet_NaN());
  start(session, args.batch, session->device_input.data(), session->device_output.data(), false);
  if (args.flags & FERRY_RUN_FETCH)
    std::copy(session->device_output.begin(), session->device_output.end(), static_cast<float*>(args.outputs[0]));
}

ferry_status submit(ferry_session* session, const ferry_run_args* args) {
  return guard([&] {
    fail_if_asked("submit");
    if (args->flags & FERRY_RUN_RESIDENT) return start_resident(session, *args);
    const auto* input = static_cast<const float*>(args->inputs[0]);
    if (mode("resident"))
      session->device_input.assign(input, input + args->batch * session->engine->network.input.elements_per_image());
    start(session, args->batch, input, static_cast<float*>(args->outputs[0]));
  });
}

ferry_status image_staging(ferry_session* session, uint64_t size, void** memory) {
  return guard([&] {
    fail_if_asked("image_staging");
    session->pictures.resize(static_cast<std::size_t>(size) + ferry::pictures::kSlack);
    *memory = session->pictures.data();
  });
}

// What a GPU's kernels do, on the host.
ferry_status submit_images(ferry_session* session, const ferry_images_args* args) {
  return guard([&] {
    fail_if_asked("submit_images");
    const auto input = ferry::pictures::input_for(1, session->engine->network.input.shape);
    if (!input) throw Failure("", "no pictures for this input", "", FERRY_UNSUPPORTED);
    const std::size_t size = session->pictures.size() - ferry::pictures::kSlack;
    const std::string refusal = ferry::pictures::refusal(*args, *input, size);
    if (!refusal.empty()) throw Failure("", refusal, "");
    const ferry::pictures::Values values = ferry::pictures::values_for(*input, args->mean, args->std);
    ferry::pictures::Plan plan = ferry::pictures::plan_for(*args, *input, values.line);
    std::vector<std::uint32_t> axes(ferry::pictures::axes_bytes(plan.job) / sizeof(std::uint32_t));
    std::vector<float> prepared(
        static_cast<std::size_t>(args->batch * session->engine->network.input.elements_per_image()));
    plan.job.pixels = session->pictures.data();
    plan.job.images = args->images;
    plan.job.axes = axes.data();
    plan.job.values = values.words.data();
    plan.job.out = prepared.data();
    ferry::pictures::run_on_host(plan);
    start(session, args->batch, prepared.data(), static_cast<float*>(args->outputs[0]));
  });
}

ferry_status wait(ferry_session* session, ferry_times* times) {
  return guard([&] {
    if (!session->running) throw Failure("", "there is no request to wait for");
    session->running = false;  // whatever happens: the next request is a new one
    fail_if_asked("wait");
    if (times != nullptr)
      *times = {session->compute_ms, session->copies_ms / 2, session->compute_ms, session->copies_ms / 2};
  });
}

void close_session(ferry_session* session) { delete session; }
void close(ferry_engine* engine) { delete engine; }

ferry_status telemetry(ferry_engine*, ferry_telemetry* now) {
  return guard([&] {
    fail_if_asked("telemetry");
    const double unknown = std::numeric_limits<double>::quiet_NaN();
    *now = {1000, unknown, 40, unknown, unknown, unknown, 0};
    if (mode("throttled")) now->power_w = 700, now->throttle_reasons = 4;
  });
}

// One layer, half of what it could be.
ferry_status profile(ferry_session* session, int64_t batch, int32_t runs, ferry_sink sink) {
  return guard([&] {
    fail_if_asked("profile");
    if (session->running) throw Failure("", "the session has a request under way");
    const Network& network = session->engine->network;
    const double bytes =
        4.0 * static_cast<double>(batch * (network.input.elements_per_image() + network.output.elements_per_image()));
    json layers = json::array({{{"name", "everything"},
                                {"kind", "Fake"},
                                {"kernel", "weighted_means"},
                                {"precision", "Float"},
                                {"ms", 2e-6 * bytes},
                                {"flops", nullptr},
                                {"bytes", bytes}},
                               {{"name", "nothing"},
                                {"kind", nullptr},
                                {"kernel", nullptr},
                                {"precision", nullptr},
                                {"ms", 0},
                                {"flops", nullptr},
                                {"bytes", nullptr}}});
    ferry::module::write(sink, json{{"batch", batch},
                                    {"runs", runs},
                                    {"layers", layers},
                                    {"peaks", {{"flops_per_second", {{"Float", 1e12}}}, {"bytes_per_second", 1e9}}}});
  });
}

ferry_backend_api table(std::uint32_t abi) {
  return {abi,
          sizeof(ferry_backend_api),
          describe,
          supported,
          build,
          open,
          io,
          open_session,
          staging,
          submit,
          wait,
          close_session,
          close,
          telemetry,
          ferry::module::report_last_error,
          profile,
          image_staging,
          submit_images};
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const ferry_backend_api* ferry_backend(std::uint32_t) {
  static const ferry_backend_api right = table(FERRY_BACKEND_ABI), wrong = table(FERRY_BACKEND_ABI + 41);
  return mode("wrong_abi") ? &wrong : &right;
}
