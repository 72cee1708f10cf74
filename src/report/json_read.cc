// Stored results back into memory: for reports and for comparing two runs.
#include <fmt/format.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "ferry/compare.h"
#include "ferry/error.h"
#include "report/layers_json.h"

namespace ferry {
namespace {

using Json = nlohmann::ordered_json;

double number(const Json& row, const char* key) {
  const auto it = row.find(key);
  if (it == row.end() || it->is_null()) return std::numeric_limits<double>::quiet_NaN();
  return it->get<double>();
}

int count(const Json& row, const char* key) {
  const auto it = row.find(key);
  return it == row.end() || it->is_null() ? 0 : it->get<int>();
}

std::string text(const Json& row, const char* key) {
  const auto it = row.find(key);
  return it == row.end() || it->is_null() ? std::string() : it->get<std::string>();
}

template <class T>
std::vector<T> list(const Json& row, const char* key) {
  const auto it = row.find(key);
  return it == row.end() || it->is_null() ? std::vector<T>() : it->get<std::vector<T>>();
}

bool flag(const Json& row, const char* key) {
  const auto it = row.find(key);
  return it != row.end() && it->is_boolean() && it->get<bool>();
}

Statistics timed_statistics(const Json& row) {
  Statistics s;
  s.count = static_cast<std::size_t>(count(row, "runs"));
  s.median = number(row, "median_ms");
  s.p90 = number(row, "p90_ms");
  s.p99 = number(row, "p99_ms");
  s.mean = number(row, "mean_ms");
  s.min = number(row, "min_ms");
  s.max = number(row, "max_ms");
  s.stddev = number(row, "stddev_ms");
  return s;
}

std::optional<Statistics> median_only(const Json& row, const char* key) {
  const double median = number(row, key);
  if (!(median >= 0)) return std::nullopt;
  Statistics s;
  s.median = median;
  return s;
}

Telemetry telemetry(const Json& t) {
  Telemetry result{number(t, "sm_clock_mhz"), number(t, "memory_clock_mhz"),  number(t, "temperature_c"),
                   number(t, "power_w"),      number(t, "memory_used_bytes"), number(t, "memory_total_bytes")};
  result.throttle_reasons = t.value("throttle_reasons", std::uint64_t{0});
  return result;
}

LoadHalf load_half(const Json& json) {
  LoadHalf half;
  half.images_per_second = number(json, "images_per_second");
  half.block_seconds = number(json, "block_seconds");
  half.sm_clock_min_mhz = number(json, "sm_clock_min_mhz");
  half.sm_clock_median_mhz = number(json, "sm_clock_median_mhz");
  half.power_median_w = number(json, "power_median_w");
  half.throttle_reasons = json.value("throttle_reasons", std::uint64_t{0});
  return half;
}

std::optional<AgainstDevice> against_device(const Json& row) {
  const auto it = row.find("against_device");
  if (it == row.end() || it->is_null()) return std::nullopt;
  return AgainstDevice{list<double>(*it, "ratios"), load_half(it->at("load")), load_half(it->at("device"))};
}

Measurement measurement(const Json& row) {
  Measurement m;
  m.engine = text(row, "engine");
  m.precision = text(row, "precision");
  m.mode = text(row, "mode");
  m.batch = row.at("batch").get<std::int64_t>();
  m.timed = text(row, "timed");
  m.runs = count(row, "runs");
  m.wall.median = number(row, "host_median_ms");
  m.wall.p90 = number(row, "host_p90_ms");
  m.wall.p99 = number(row, "host_p99_ms");
  if (m.timed == "device compute") {
    m.device = timed_statistics(row);
  } else {
    m.wall = timed_statistics(row);
  }
  m.enqueue = median_only(row, "enqueue_median_ms");
  m.h2d = median_only(row, "h2d_median_ms");
  m.d2h = median_only(row, "d2h_median_ms");
  m.images_per_second = number(row, "images_per_second");
  m.sessions = row.value("sessions", 1);
  if (const double share = number(row, "share_of_device"); share > 0) m.share_of_device = share;
  m.against_device = against_device(row);
  m.round_medians_ms = list<double>(row, "round_medians_ms");
  m.samples_ms = list<double>(row, "quantiles_ms");  // not the runs themselves, but the same distribution
  m.warnings = list<std::string>(row, "warnings");
  for (const Json& t : row.value("telemetry", Json::array())) m.telemetry.push_back(telemetry(t));
  return m;
}

Agreement agreement(const Json& row) {
  Agreement a;
  a.ok = flag(row, "ok") || !row.contains("ok") || row["ok"].is_null();  // of bench: nothing was compared
  a.failure = text(row, "disagreement");
  a.relative_error = number(row, "relative_error");
  a.cosine = number(row, "cosine");
  a.max_abs_error = number(row, "max_abs_error");
  a.top1_agreement = number(row, "top1_agreement");
  a.top5_overlap = number(row, "top5_overlap");
  a.images = row.value("images_compared", std::int64_t{0});
  return a;
}

std::optional<PictureAccuracy> accuracy(const Json& row) {
  const auto it = row.find("accuracy");
  if (it == row.end() || it->is_null()) return std::nullopt;
  PictureAccuracy a;
  a.images = it->value("images", std::int64_t{0});
  a.top1 = number(*it, "top1");
  a.top5 = number(*it, "top5");
  a.agreement = number(*it, "agreement");
  a.kl = number(*it, "kl");
  a.relative_error = number(*it, "relative_error");
  a.failure = text(*it, "failure");
  return a;
}

ComparisonRow comparison_row(const Json& row) {
  ComparisonRow r;
  r.engine = row.at("engine").get<std::string>();
  r.model = text(row, "model");
  r.backend = text(row, "backend");
  r.precision = text(row, "precision");
  r.device = text(row, "device");
  r.device_kind = text(row, "device_kind");
  r.sdk_version = text(row, "sdk_version");
  const double memory = number(row, "device_memory_bytes");
  r.device_memory_bytes = memory > 0 ? static_cast<std::int64_t>(memory) : 0;
  r.measurement = measurement(row);
  r.agreement = agreement(row);
  r.accuracy = accuracy(row);
  r.baseline = flag(row, "baseline");
  const double speedup = number(row, "speedup");
  r.speedup = speedup > 0 ? speedup : 0;
  r.failure = text(row, "failure");
  if (const auto layers = row.find("layers"); layers != row.end() && layers->is_object()) {
    r.layers = layers_from_json(*layers);
    r.layers->batch = r.measurement.batch;
  }
  return r;
}

Comparison comparison(const Json& json) {
  Comparison c;
  c.network = text(json, "network");
  c.origin = text(json, "origin");
  c.random_weights = flag(json, "random_weights");
  c.inputs = text(json, "inputs");
  c.command = text(json, "command");
  c.started_at = text(json, "started_at");
  c.machine_json = json.value("machine", Json::object()).dump();
  for (const Json& row : json.at("results")) c.rows.push_back(comparison_row(row));
  c.notes = list<std::string>(json, "notes");
  return c;
}

}  // namespace

Comparison comparison_from_json(const std::string& bytes, const std::string& path) {
  try {
    const Json json = Json::parse(bytes);
    if (text(json, "format") != "ferry results" || json.value("version", 0) != 1)
      throw Error(Stage::kReport, path,
                  "is not a results file that this ferry reads (format 'ferry results', version 1)",
                  "Write one with `ferry compare ... --json results.json`.");
    return comparison(json);
  } catch (const nlohmann::json::exception& error) {
    throw Error(Stage::kReport, path, fmt::format("is not a results file: {}", error.what()),
                "Write one with `ferry compare ... --json results.json`.");
  }
}

}  // namespace ferry
