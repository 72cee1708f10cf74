#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "crafted.h"
#include "ferry/error.h"

namespace ferry {
namespace {

using nlohmann::json;

TEST(ResultsJson, HasTheKeysThatOthersRelyOn) {
  const json j = json::parse(to_json(crafted()));
  ASSERT_EQ(j["results"].size(), 7u);
  EXPECT_TRUE(j["machine"]["cpu"].is_object());
  const json& row = j["results"][1];
  EXPECT_EQ(row["engine"], "TensorRT for RTX");
  EXPECT_EQ(row["precision"], "fp16");
  EXPECT_EQ(row["batch"], 1);
  EXPECT_EQ(row["mode"], "latency");
  EXPECT_EQ(row["timed"], "device compute");
  EXPECT_NEAR(row["median_ms"].get<double>(), 0.60495, 1e-9);
  EXPECT_NEAR(row["host_median_ms"].get<double>(), 0.9095, 1e-9);
  EXPECT_EQ(row["relative_error"], 1.5e-3);
  EXPECT_EQ(row["top1_agreement"], 1);
  EXPECT_NEAR(row["speedup"].get<double>(), 5.40095 / 0.60495, 1e-9);
  EXPECT_EQ(row["quantiles_ms"].size(), 101u);
  EXPECT_TRUE(row["telemetry"][0]["power_w"].is_null());  // NaN: unknown
}

TEST(ResultsJson, AFailedRowHasNullsAndItsMessage) {
  const json row = json::parse(to_json(crafted()))["results"][6];
  EXPECT_TRUE(row["median_ms"].is_null());
  EXPECT_TRUE(row["relative_error"].is_null());
  EXPECT_FALSE(row["ok"]);
  EXPECT_THAT(row["failure"].get<std::string>(), testing::HasSubstr("8 GB"));
}

TEST(ResultsJson, NaNBecomesNullAndBadUtf8DoesNotThrow) {
  Comparison c = crafted("broken \xff name");
  c.rows[1].agreement.relative_error = std::numeric_limits<double>::quiet_NaN();
  c.rows[1].agreement.ok = false;
  const json row = json::parse(to_json(c))["results"][1];
  EXPECT_TRUE(row["relative_error"].is_null());
  EXPECT_FALSE(row["ok"]);
}

TEST(ResultsJson, SurvivesARoundTrip) {
  const Comparison c = crafted();
  const Comparison back = comparison_from_json(to_json(c), "x.json");
  ASSERT_EQ(back.rows.size(), c.rows.size());
  EXPECT_EQ(to_table(back, false), to_table(c, false));
  EXPECT_EQ(to_json(back), to_json(c));
  ASSERT_TRUE(back.rows[1].measurement.against_device);
  EXPECT_EQ(back.rows[1].measurement.against_device->load.sm_clock_min_mhz, 1440);
  EXPECT_FALSE(back.rows[0].measurement.against_device);
}

TEST(ResultsJson, KeepsWhatPicturesSaid) {
  Comparison c = crafted();
  PictureAccuracy accuracy;
  accuracy.images = 400;
  accuracy.top1 = 0.795;
  accuracy.agreement = std::nan("");
  c.rows[1].accuracy = accuracy;
  const Comparison back = comparison_from_json(to_json(c), "r.json");
  EXPECT_FALSE(back.rows[0].accuracy);
  ASSERT_TRUE(back.rows[1].accuracy);
  EXPECT_EQ(back.rows[1].accuracy->images, 400);
  EXPECT_EQ(back.rows[1].accuracy->top1, 0.795);
  EXPECT_TRUE(std::isnan(back.rows[1].accuracy->agreement));
}

TEST(ResultsJson, WhatIsNotAResultsFileIsRefusedByName) {
  for (const char* text : {"", "[]", "{}", R"({"format":"ferry results","version":2,"results":[]})", "{\"format\":3}",
                           R"({"format":"ferry results","version":1})",
                           R"({"format":"ferry results","version":1,"results":[{"engine":1}]})",
                           R"({"format":"ferry results","version":1,"results":[{"engine":"a","batch":"many"}]})"}) {
    try {
      comparison_from_json(text, "x.json");
      FAIL() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.subject(), "x.json");
      EXPECT_EQ(error.stage(), Stage::kReport);
    }
  }
}

TEST(Machine, KnowsThisOne) {
  BackendInfo info;
  info.name = "a";
  info.usable = true;
  info.devices = {{"gpu", "G", "8.9", "580", "13.0", 8, 0}};
  BackendInfo again = info;
  again.name = "b";
  const json j = json::parse(machine_json({info, again}));
  EXPECT_GE(j["cpu"]["threads"], 1);
  EXPECT_GT(j["memory_bytes"], 1 << 20);
  EXPECT_TRUE(j["kernel"].get<std::string>().starts_with("Linux"));
  ASSERT_EQ(j["gpus"].size(), 1u);  // one card seen by two backends
  EXPECT_EQ(j["gpus"][0]["compute_capability"], "8.9");
  EXPECT_EQ(j["backends"].size(), 2u);
  EXPECT_THAT(timestamp(), testing::MatchesRegex("....-..-..T..:..:..Z"));
}

}  // namespace
}  // namespace ferry
