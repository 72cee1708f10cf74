// ONNX -> plan + sidecar, through the cache.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "engine/cache.h"
#include "engine/choose.h"
#include "engine/json.h"
#include "engine/lock.h"
#include "engine/onnx_digest.h"
#include "engine/plan_pair.h"
#include "engine/probe.h"
#include "engine/remember.h"
#include "ferry/error.h"
#include "ferry/report.h"

namespace ferry {
namespace {

struct Job {
  const BuildRequest& request;
  Backend backend;
  CacheKey key;
  std::optional<Device> device;  // that the engine is for, if it is here
  std::string onnx_path;         // absolute
  std::string cached_path;       // in the cache; request.plan_path may name a second place
};

std::string absolute(const std::string& path) { return std::filesystem::absolute(path).lexically_normal().string(); }

std::string precision_of(const std::string& onnx_path) {
  return remembered(onnx_path, "precision", Stage::kBuild,
                    [&] { return std::string(name_of(OnnxModel::load(onnx_path).summary().precision)); });
}

Job plan_job(const BuildRequest& request) {
  const std::string precision = request.backend.empty() ? precision_of(request.onnx_path) : std::string();
  Job job{request, choose_builder(request.backend, precision, request.options), {}, {}, {}, {}};
  const BackendInfo& info = job.backend.info();
  job.onnx_path = absolute(request.onnx_path);
  job.device = device_of(info, request.options.device);
  job.key = {onnx_digest(request.onnx_path, Stage::kBuild),
             info.name,
             info.version,
             "",
             request.options.target,
             request.options};
  if (request.options.target.empty() && job.device) {
    job.key.gpu = job.device->name;
    job.key.compute_capability = job.device->compute_capability;
  }
  const bool here = job.device && covers(job.key.compute_capability, job.device->compute_capability);
  if (!here) job.device.reset();
  if (job.key.options.profiles.empty()) {
    job.key.options.profiles = default_profiles(job.device);
    for (BatchProfile& p : job.key.options.profiles) {
      p.max = std::min(p.max, info.max_batch.value_or(p.max));
      p.opt = std::min(p.opt, p.max);
    }
  }
  job.cached_path = cached_plan_path(job.key);
  return job;
}

// What belongs to the request and not to the plan: a hit may carry another's.
bool adopt(Sidecar& sidecar, const Job& job) {
  const BuildRequest& r = job.request;
  Sidecar before = sidecar;
  sidecar.onnx_path = job.onnx_path;
  if (!r.origin.empty()) sidecar.origin = r.origin;
  if (!r.preprocessing.empty()) sidecar.preprocessing = r.preprocessing;
  if (!r.class_names.empty()) sidecar.class_names = r.class_names;
  return to_json(before) != to_json(sidecar);
}

void copy_pair(const std::string& from, const std::string& to, const Sidecar& sidecar) {
  PlanPair pair(to);
  pair.write_plan(read_file(from, Stage::kBuild));
  pair.commit(sidecar);
}

std::optional<BuildOutcome> find(const Job& job, std::string& why) {
  if (job.request.force) {
    why = "forced";
    return std::nullopt;
  }
  const std::string wanted = job.request.plan_path;
  std::string why_wanted, why_cached;
  if (!wanted.empty()) {
    if (std::optional<Sidecar> sidecar = find_engine(wanted, job.key, why_wanted)) {
      if (adopt(*sidecar, job)) write_file(sidecar_path(wanted), to_json(*sidecar), Stage::kBuild);
      return BuildOutcome{wanted, *sidecar, true, "hit", {}};
    }
  }
  if (std::optional<Sidecar> sidecar = find_engine(job.cached_path, job.key, why_cached)) {
    const bool changed = adopt(*sidecar, job);
    if (!wanted.empty()) {
      copy_pair(job.cached_path, wanted, *sidecar);
    } else if (changed) {
      write_file(sidecar_path(job.cached_path), to_json(*sidecar), Stage::kBuild);
    }
    return BuildOutcome{wanted.empty() ? job.cached_path : wanted, *sidecar, true, "hit", {}};
  }
  why = !wanted.empty() && why_wanted != "no entry" ? why_wanted : why_cached;
  if (why == "no entry") why = reason_for_miss(job.key);
  return std::nullopt;
}

std::string text_in(const Json& json, const char* key, const std::string& otherwise) {
  const auto it = json.is_object() ? json.find(key) : json.end();
  return json.is_object() && it != json.end() && it->is_string() ? it->get<std::string>() : otherwise;
}

std::string proof_in(const Json& report) {
  if (!report.is_object() || !report.contains("precision_proof") || report["precision_proof"].is_null()) return {};
  return report["precision_proof"].dump();
}

Sidecar describe(const Job& job, const OnnxSummary& onnx, const BuildResult& built, double seconds) {
  const Json report = embedded(built.report_json);
  const BackendInfo& info = job.backend.info();
  Sidecar s;
  s.backend = info.name;
  s.sdk = text_in(report, "sdk", info.display_name);
  s.sdk_version = text_in(report, "sdk_version", info.version);
  s.plan_sha256 = sha256(built.plan);
  s.onnx_sha256 = job.key.onnx_sha256;
  s.gpu = job.key.gpu;
  s.compute_capability = job.key.compute_capability;
  s.driver = text_in(report, "driver", job.device ? job.device->driver : "");
  s.precision = name_of(onnx.precision);
  s.precision_proof_json = proof_in(report);
  s.cache_key = digest(job.key);
  s.profiles = job.key.options.profiles;
  s.inputs = onnx.inputs;
  s.outputs = onnx.outputs;
  s.form = form_of(onnx.metadata, job.onnx_path);
  s.build_options_json = build_options_json(job.key.options).dump();
  s.build_report_json = built.report_json;
  s.build_seconds = seconds;
  s.built_at = timestamp();
  s.ferry_version = FERRY_VERSION;
  for (const auto& [key, value] : onnx.metadata)
    if (key == "origin" || key == "ferry.origin") s.origin = value;
  adopt(s, job);
  return s;
}

// Opens what was just written, if it can run here: proves the precision and asks the probe.
void prove(Sidecar& s, const Job& job, const std::string& plan, const std::string& onnx) {
  std::optional<Engine> engine;
  if (job.device && job.backend.info().usable) {
    OpenOptions options;
    options.device = job.request.options.device;
    options.precision = s.precision;
    engine = job.backend.open_plan(plan, options, job.request.log);
    if (!engine->info().precision_proof_json.empty()) s.precision_proof_json = engine->info().precision_proof_json;
    s.inputs = engine->info().inputs;
    s.outputs = engine->info().outputs;
  }
  s.precision_proof_due = !engine && s.precision_proof_json.empty();
  const std::string& path = job.request.plan_path.empty() ? job.cached_path : job.request.plan_path;
  check_precision(s.precision, s.precision_proof_json, path);
  s.probe = make_probe({onnx, job.request.network, engine ? &*engine : nullptr, s.precision, s.backend, s.profiles,
                        job.key.options.tf32, s.form},
                       job.request.log);
  if (!engine) return;
  const std::string failure = probe_failure(probe_answer(*engine, *s.probe, s.form), *s.probe, s.form);
  if (!failure.empty())
    throw Error(Stage::kBuild, path, failure,
                "Nothing was kept. Try another precision or backend, and `--verbose` for what the SDK says.");
}

void store_in_cache(const Job& job, const std::string& plan, const Sidecar& sidecar) {
  try {
    PlanPair pair(job.cached_path);
    pair.write_plan(plan);
    pair.commit(sidecar);
  } catch (const Error& error) {  // the user's own file is there: only the next build is slower
    if (job.request.log) job.request.log(1, std::string("not kept in the cache: ") + error.what());
  }
}

// Bytes with all weights inside; the parsed model is gone before the build takes its memory.
std::pair<std::string, OnnxSummary> load_onnx(const std::string& path) {
  const OnnxModel model = OnnxModel::load(path);
  return {model.serialize(), model.summary()};
}

BuildOutcome build(const Job& job, const std::string& why) {
  const BuildRequest& request = job.request;
  const bool own_place = !request.plan_path.empty();
  PlanPair pair(own_place ? request.plan_path : job.cached_path);
  const auto [onnx, summary] = load_onnx(request.onnx_path);
  const auto start = std::chrono::steady_clock::now();
  const BuildResult built =
      job.backend.build(onnx, job.key.options, load_timing_cache(job.key), request.progress, request.log);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  store_timing_cache(job.key, built.timing_cache);
  Sidecar sidecar = describe(job, summary, built, seconds.count());
  prove(sidecar, job, pair.write_plan(built.plan), onnx);
  pair.commit(sidecar);
  if (own_place) store_in_cache(job, built.plan, sidecar);
  return {pair.path(), sidecar, false, why, {}};
}

std::vector<std::string> cautions_of(const Job& job, const std::string& precision) {
  const std::string& target =
      job.request.options.target.empty() ? job.key.compute_capability : job.request.options.target;
  std::vector<std::string> texts;
  for (const BackendCaution& caution : job.backend.info().cautions) {
    const auto meant = [&](const std::string& capability) { return covers(target, capability); };
    if (caution.precision == precision &&
        std::any_of(caution.compute_capabilities.begin(), caution.compute_capabilities.end(), meant))
      texts.push_back(job.backend.info().display_name + ": " + caution.text);
  }
  return texts;
}

}  // namespace

BuildOutcome build_engine(const BuildRequest& request) {
  const Job job = plan_job(request);
  std::optional<FileLock> own_place;
  if (!request.plan_path.empty())
    own_place.emplace("path-" + sha256(absolute(request.plan_path)).substr(0, 16), request.plan_path, request.progress,
                      request.log);
  const FileLock lock("engine-" + digest(job.key).substr(0, 16), "the same engine", request.progress, request.log);
  std::string why;
  std::optional<BuildOutcome> outcome = find(job, why);
  if (!outcome) outcome = build(job, why);
  outcome->cautions = cautions_of(job, outcome->sidecar.precision);
  return std::move(*outcome);
}

std::string cache_directory() { return cache_path(""); }

}  // namespace ferry
