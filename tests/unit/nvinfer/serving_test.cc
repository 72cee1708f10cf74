// Sessions over the fake driver: profiles of layers, waiting without a core, large inputs.
#include "session_fixture.h"

namespace ferry::nvinfer {
namespace {

TEST_F(SessionTest, WaitingCanLeaveTheCoreToOthers) {
  OpenOptions options;
  options.block = true;
  open(options);
  for (int i = 0; i < 3; ++i) run_and_check(4, static_cast<float>(i));
  EXPECT_EQ(fake.calls("cuEventSynchronize"), 3);
  EXPECT_EQ(fake.calls("cuStreamSynchronize"), 0);
  fake.fail("cuEventSynchronize", kIllegalAddress, 0);
  EXPECT_THAT(cause_of([&] { run(4, numbers(4, 1)); }), HasSubstr("(700)"));
  run_and_check(4, 9);
}

TEST_F(SessionTest, AProfileTimesTheLayersOnTheLastInputs) {
  open();
  EXPECT_THAT(cause_of([&] { session_->profile(4, 5); }), HasSubstr("nothing is on the device yet"));
  for (int i = 0; i < 3; ++i) run_and_check(4, 1);
  const auto profile = session_->profile(4, 5);
  EXPECT_EQ(profile["batch"], 4);
  EXPECT_EQ(profile["runs"], 5);
  ASSERT_EQ(profile["layers"].size(), 1u);
  EXPECT_EQ(profile["layers"][0]["ms"], 4) << "the median of 2, 3, 4, 5, 6";
  EXPECT_EQ(profile["layers"][0]["bytes"], 2 * 4 * 4 * 4);
  EXPECT_EQ(run_resident(4, true), doubled(numbers(4, 1))) << "the graph of the batch is still right";
  EXPECT_THAT(cause_of([&] { session_->profile(4, 0); }), HasSubstr("runs"));
  EXPECT_THAT(cause_of([&] { session_->profile(99, 1); }), HasSubstr("1..32"));
}

}  // namespace
}  // namespace ferry::nvinfer
