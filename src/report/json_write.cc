// The comparison as JSON: docs/results.schema.json is its contract.
#include <cmath>
#include <nlohmann/json.hpp>

#include "ferry/compare.h"
#include "report/layers_json.h"

namespace ferry {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kQuantiles = 101;  // p0 to p100

Json median_of(const std::optional<Statistics>& s) { return s ? number_or_null(s->median) : Json(nullptr); }

Json quantiles(std::vector<double> samples) {
  if (samples.empty()) return Json::array();
  std::sort(samples.begin(), samples.end());
  Json result = Json::array();
  for (int i = 0; i < kQuantiles; ++i) {
    const double position = static_cast<double>(i) / (kQuantiles - 1) * static_cast<double>(samples.size() - 1);
    result.push_back(samples[static_cast<std::size_t>(std::lround(position))]);
  }
  return result;
}

Json telemetry_json(const Telemetry& t) {
  return {{"sm_clock_mhz", number_or_null(t.sm_clock_mhz)},
          {"memory_clock_mhz", number_or_null(t.memory_clock_mhz)},
          {"temperature_c", number_or_null(t.temperature_c)},
          {"power_w", number_or_null(t.power_w)},
          {"memory_used_bytes", number_or_null(t.memory_used_bytes)},
          {"memory_total_bytes", number_or_null(t.memory_total_bytes)},
          {"throttle_reasons", t.throttle_reasons}};
}

Json half_json(const LoadHalf& half) {
  return {{"images_per_second", number_or_null(half.images_per_second)},
          {"block_seconds", number_or_null(half.block_seconds)},
          {"sm_clock_min_mhz", number_or_null(half.sm_clock_min_mhz)},
          {"sm_clock_median_mhz", number_or_null(half.sm_clock_median_mhz)},
          {"power_median_w", number_or_null(half.power_median_w)},
          {"throttle_reasons", half.throttle_reasons}};
}

void add_timed(Json& row, const Measurement& m, bool ran) {
  const Statistics& s = m.timed_statistics();
  const auto value = [&](double v) { return ran ? number_or_null(v) : Json(nullptr); };
  row["timed"] = ran ? Json(m.timed) : Json(nullptr);
  row["runs"] = ran ? m.runs : 0;
  row["median_ms"] = value(s.median);
  row["p90_ms"] = value(s.p90);
  row["p99_ms"] = value(s.p99);
  row["mean_ms"] = value(s.mean);
  row["min_ms"] = value(s.min);
  row["max_ms"] = value(s.max);
  row["stddev_ms"] = value(s.stddev);
  row["images_per_second"] = value(m.images_per_second);
  row["sessions"] = m.sessions;
  row["share_of_device"] = m.share_of_device > 0 ? value(m.share_of_device) : Json(nullptr);
  if (const auto& against = m.against_device; against && ran)
    row["against_device"] = {
        {"ratios", against->ratios}, {"load", half_json(against->load)}, {"device", half_json(against->device)}};
}

void add_parts(Json& row, const Measurement& m, bool ran) {
  const auto value = [&](double v) { return ran ? number_or_null(v) : Json(nullptr); };
  row["host_median_ms"] = value(m.wall.median);
  row["host_p90_ms"] = value(m.wall.p90);
  row["host_p99_ms"] = value(m.wall.p99);
  const double one_by_one = m.wall.median > 0 ? 1000 * static_cast<double>(m.batch) / m.wall.median : std::nan("");
  row["host_images_per_second"] = value(m.timed == "request under load" ? m.images_per_second : one_by_one);
  row["enqueue_median_ms"] = median_of(m.enqueue);
  row["h2d_median_ms"] = median_of(m.h2d);
  row["compute_median_ms"] = median_of(m.device);
  row["d2h_median_ms"] = median_of(m.d2h);
  row["round_medians_ms"] = m.round_medians_ms;
  row["quantiles_ms"] = quantiles(m.samples_ms);
  row["telemetry"] = Json::array();
  for (const Telemetry& t : m.telemetry) row["telemetry"].push_back(telemetry_json(t));
}

void add_agreement(Json& row, const Agreement& a, bool ran) {
  const auto value = [&](double v) { return ran ? number_or_null(v) : Json(nullptr); };
  row["ok"] = ran && a.ok;
  row["relative_error"] = value(a.relative_error);
  row["cosine"] = value(a.cosine);
  row["max_abs_error"] = value(a.max_abs_error);
  row["top1_agreement"] = value(a.top1_agreement);
  row["top5_overlap"] = value(a.top5_overlap);
  row["images_compared"] = a.images;
  row["disagreement"] = ran && !a.ok ? Json(a.failure) : Json(nullptr);
}

Json accuracy_json(const std::optional<PictureAccuracy>& a) {
  if (!a) return nullptr;
  return {{"images", a->images},
          {"top1", number_or_null(a->top1)},
          {"top5", number_or_null(a->top5)},
          {"agreement", number_or_null(a->agreement)},
          {"kl", number_or_null(a->kl)},
          {"relative_error", number_or_null(a->relative_error)},
          {"failure", a->failure.empty() ? Json(nullptr) : Json(a->failure)}};
}

Json row_json(const ComparisonRow& r) {
  const Measurement& m = r.measurement;
  const bool ran = r.failure.empty();
  Json row = {
      {"engine", r.engine},           {"backend", r.backend},         {"precision", r.precision}, {"device", r.device},
      {"device_kind", r.device_kind}, {"sdk_version", r.sdk_version}, {"batch", m.batch},         {"mode", m.mode}};
  if (!r.model.empty()) row["model"] = r.model;
  row["device_memory_bytes"] = r.device_memory_bytes > 0 ? Json(r.device_memory_bytes) : Json(nullptr);
  add_timed(row, m, ran);
  add_parts(row, m, ran);
  add_agreement(row, r.agreement, ran);
  row["accuracy"] = accuracy_json(r.accuracy);
  row["baseline"] = r.baseline;
  row["speedup"] = r.speedup > 0 ? number_or_null(r.speedup) : Json(nullptr);
  row["warnings"] = m.warnings;
  row["failure"] = ran ? Json(nullptr) : Json(r.failure);
  if (r.layers) row["layers"] = layers_json(*r.layers);
  return row;
}

}  // namespace

std::string to_json(const Comparison& c) {
  Json json;
  json["format"] = "ferry results";
  json["version"] = 1;
  json["network"] = c.network;
  json["origin"] = c.origin;
  json["random_weights"] = c.random_weights;
  json["inputs"] = c.inputs;
  json["command"] = c.command;
  json["started_at"] = c.started_at;
  json["machine"] = Json::parse(c.machine_json.empty() ? "{}" : c.machine_json);
  json["results"] = Json::array();
  for (const ComparisonRow& row : c.rows) json["results"].push_back(row_json(row));
  json["notes"] = c.notes;
  const std::string classic = classic_line(c);
  json["summary"] = classic.empty() ? Json(nullptr) : Json(classic);
  // Names of files and engines need not be UTF-8: what is not becomes U+FFFD instead of an exception.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace ferry
