// Calibration files: docs/int8.md describes them.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "ferry/error.h"
#include "ferry/quantize.h"

namespace ferry {
namespace {

using Json = nlohmann::ordered_json;
constexpr int kVersion = 1;

Json statistics_json(const TensorStatistics& s) {
  std::size_t used = s.bins.size();
  while (used > 0 && s.bins[used - 1] == 0) --used;
  return {{"count", s.count},
          {"zeros", s.zeros},
          {"min", s.min},
          {"max", s.max},
          {"bin_width", s.bin_width},
          {"bins", std::vector<std::uint64_t>(s.bins.begin(), s.bins.begin() + static_cast<std::ptrdiff_t>(used))},
          {"bin_count", s.bins.size()},
          {"channel_max", s.channel_max},
          {"channel_mean", s.channel_mean},
          {"channel_power", s.channel_power}};
}

TensorStatistics statistics_from(const Json& json) {
  TensorStatistics s;
  json.at("count").get_to(s.count);
  json.at("zeros").get_to(s.zeros);
  json.at("min").get_to(s.min);
  json.at("max").get_to(s.max);
  json.at("bin_width").get_to(s.bin_width);
  json.at("bins").get_to(s.bins);
  const auto bins = json.at("bin_count").get<std::size_t>();
  if (bins < s.bins.size() || bins > (1u << 20)) throw std::runtime_error("bin_count does not fit the bins");
  s.bins.resize(bins);
  json.at("channel_max").get_to(s.channel_max);
  json.at("channel_mean").get_to(s.channel_mean);
  json.at("channel_power").get_to(s.channel_power);
  if (s.channel_mean.size() != s.channel_max.size() || s.channel_power.size() != s.channel_max.size())
    throw std::runtime_error("the channel lists have different lengths");
  if (!(s.bin_width >= 0) || !(s.min <= s.max)) throw std::runtime_error("min, max or bin_width make no sense");
  return s;
}

Json moments_json(const PictureMoments& picture) {
  return {{"reach", PictureMoments::kReach},
          {"channels", picture.channels},
          {"places", picture.places},
          {"sums", picture.sums}};
}

PictureMoments moments_from(const Json& json) {
  PictureMoments picture;
  json.at("channels").get_to(picture.channels);
  json.at("places").get_to(picture.places);
  json.at("sums").get_to(picture.sums);
  if (json.at("reach").get<std::int64_t>() != PictureMoments::kReach || picture.channels < 0 ||
      picture.channels > 4096 ||
      picture.sums.size() !=
          static_cast<std::size_t>(picture.channels * picture.channels * PictureMoments::kSide * PictureMoments::kSide))
    throw std::runtime_error("the moments of the pictures have another size");
  return picture;
}

Json calibration_json(const Calibration& calibration) {
  Json tensors = Json::object();
  for (const auto& [name, statistics] : calibration.tensors) tensors[name] = statistics_json(statistics);
  Json broken = Json::array();
  for (const BrokenImage& image : calibration.broken)
    broken.push_back({{"path", image.path}, {"message", image.message}});
  return {{"preprocessing", calibration.preprocessing},
          {"engine", calibration.engine},
          {"images", calibration.images},
          {"broken", std::move(broken)},
          {"picture", moments_json(calibration.picture)},
          {"tensors", std::move(tensors)}};
}

Calibration calibration_from(const Json& json) {
  Calibration calibration;
  json.at("preprocessing").get_to(calibration.preprocessing);
  json.at("engine").get_to(calibration.engine);
  json.at("images").get_to(calibration.images);
  for (const Json& image : json.at("broken"))
    calibration.broken.push_back({image.at("path").get<std::string>(), image.at("message").get<std::string>()});
  for (const auto& [name, statistics] : json.at("tensors").items())
    calibration.tensors[name] = statistics_from(statistics);
  if (json.contains("picture")) calibration.picture = moments_from(json.at("picture"));  // not in files of before
  return calibration;
}

}  // namespace

std::string to_json(const CalibrationFile& file) {
  const Json json = {{"ferry_calibration", kVersion},
                     {"model_sha256", file.model_sha256},
                     {"channels", file.channels ? calibration_json(*file.channels) : Json(nullptr)},
                     {"ranges", calibration_json(file.ranges)}};
  return json.dump(1, ' ', false, Json::error_handler_t::replace);
}

CalibrationFile calibration_file_from_json(const std::string& text, const std::string& path) {
  try {
    const Json json = Json::parse(text);
    if (const int version = json.at("ferry_calibration").get<int>(); version != kVersion)
      throw std::runtime_error(fmt::format("it has version {}, this ferry reads {}", version, kVersion));
    CalibrationFile file;
    json.at("model_sha256").get_to(file.model_sha256);
    if (!json.at("channels").is_null()) file.channels = calibration_from(json.at("channels"));
    file.ranges = calibration_from(json.at("ranges"));
    return file;
  } catch (const std::exception& error) {
    throw Error(Stage::kQuantize, path, fmt::format("is no calibration file: {}", error.what()),
                "Calibrate again with --calibration DIR.");
  }
}

CalibrationFile read_calibration_file(const std::string& path) {
  return calibration_file_from_json(read_file(path, Stage::kQuantize), path);
}

}  // namespace ferry
