// One list of checks that every usable backend passes. To add a backend: name it in subject.cc and in CMakeLists.txt.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <thread>

#include "conformance/subject.h"

namespace ferry::conformance {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr std::int64_t kBatches[] = {1, 2, 5, kMaxBatch};

class Conformance : public testing::TestWithParam<std::tuple<std::string, std::string>> {
 protected:
  void SetUp() override {
    subject_ = &subject(std::get<0>(GetParam()), precision());
    if (!subject_->skipped.empty()) GTEST_SKIP() << std::get<0>(GetParam()) << ": " << subject_->skipped;
  }
  const std::string& precision() const { return std::get<1>(GetParam()); }
  const Engine& engine() const { return *subject_->engine; }
  const EngineInfo& info() const { return engine().info(); }

  /// Judges rows that may come from other kernels (another batch, another session).
  void expect_agreement(const Tensor& output, const Tensor& reference, const std::string& what) const {
    const Agreement agreement = compare_outputs(output.view(), reference.view(), tolerance_for(precision()));
    EXPECT_TRUE(agreement.ok) << what << ": " << agreement.failure;
  }
  static bool identical(const Tensor& a, const Tensor& b) {
    return a.size_bytes() == b.size_bytes() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
  }
  static Tensor poisoned(const Shape& shape) {
    Tensor tensor(DType::kFloat32, shape);
    std::fill(tensor.floats().begin(), tensor.floats().end(), std::nanf(""));
    return tensor;
  }
  template <typename Body>
  static std::string refusal(Body body) {
    try {
      body();
    } catch (const Error& e) {
      return e.what();
    }
    ADD_FAILURE() << "was not refused";
    return {};
  }

  const Subject* subject_ = nullptr;
};

TEST_P(Conformance, SaysWhatItIs) {
  EXPECT_EQ(info().backend, std::get<0>(GetParam()));
  EXPECT_FALSE(info().sdk_version.empty());
  EXPECT_FALSE(info().device.name.empty());
  ASSERT_EQ(info().inputs.size(), 1u);
  ASSERT_EQ(info().outputs.size(), 1u);
  EXPECT_EQ(info().inputs[0].shape, (Shape{-1, 3, 64, 64}));
  EXPECT_EQ(info().outputs[0].shape, (Shape{-1, 24}));
  EXPECT_EQ(info().inputs[0].dtype, DType::kFloat32);
  EXPECT_EQ(info().outputs[0].dtype, DType::kFloat32);
}

TEST_P(Conformance, AgreesWithTheRefereeAtEveryBatch) {
  if (std::get<0>(GetParam()) == "fake") GTEST_SKIP() << "the fake engine computes a function of its own";
  if (!referee()) GTEST_SKIP() << "neither LibTorch nor OpenVINO is here to judge";
  Session session = engine().new_session(), judge = referee()->engine.new_session();
  for (const std::int64_t n : kBatches)
    expect_agreement(session.run(input(n).view()), judge.run(input(n).view()),
                     "batch " + std::to_string(n) + " against " + referee()->name);
}

TEST_P(Conformance, RowsDoNotDependOnTheirNeighbours) {
  Session session = engine().new_session();
  const Tensor whole = session.run(input(kMaxBatch).view());
  for (const std::int64_t n : kBatches) {
    const Tensor part = Tensor::copy_of(TensorView{DType::kFloat32, {n, 24}, whole.data()});
    expect_agreement(session.run(input(n).view()), part, "batch " + std::to_string(n));
  }
}

TEST_P(Conformance, ABatchOutsideTheRangeIsRefused) {
  Session session = engine().new_session();
  EXPECT_NE(refusal([&] { session.run(Tensor(DType::kFloat32, {0, 3, 64, 64}).view()); }), "");
  if (!info().max_batch) {
    EXPECT_NO_THROW(session.run(input(kMaxBatch + 1).view())) << "an engine without a maximum takes any batch";
    return;
  }
  ASSERT_EQ(*info().max_batch, kMaxBatch);
  EXPECT_THAT(refusal([&] { session.run(input(kMaxBatch + 1).view()); }),
              AllOf(HasSubstr(std::to_string(kMaxBatch + 1)), HasSubstr("1 to " + std::to_string(kMaxBatch))));
  EXPECT_NO_THROW(session.run(input(1).view())) << "the session goes on after a refusal";
}

TEST_P(Conformance, RepeatedRunsAreIdentical) {
  Session session = engine().new_session();
  for (const std::int64_t n : {std::int64_t{1}, kMaxBatch}) {
    const Tensor first = session.run(input(n).view());
    for (int i = 0; i < 5; ++i) EXPECT_TRUE(identical(session.run(input(n).view()), first)) << "batch " << n;
  }
}

TEST_P(Conformance, BatchesMayAlternate) {
  Session session = engine().new_session();
  std::map<std::int64_t, Tensor> first;
  for (const std::int64_t n : {8, 1, 5, 8, 2, 1, 5, 2}) {
    Tensor output = session.run(input(n).view());
    const auto [entry, fresh] = first.try_emplace(n, std::move(output));
    EXPECT_TRUE(fresh || identical(output, entry->second)) << "batch " << n;
  }
}

TEST_P(Conformance, EveryOutputIsWrittenAndNothingElse) {
  Session session = engine().new_session();
  for (const std::int64_t n : kBatches) {
    const Tensor in = input(n), before = in.clone();
    Tensor out = poisoned({n + 1, 24});  // one row more than asked for
    session.submit(n, {in.data()}, {out.data()});
    session.wait();
    const auto values = out.floats();
    EXPECT_TRUE(std::all_of(values.begin(), values.begin() + 24 * n, [](float v) { return std::isfinite(v); }));
    EXPECT_TRUE(std::all_of(values.begin() + 24 * n, values.end(), [](float v) { return std::isnan(v); }));
    EXPECT_TRUE(identical(in, before)) << "the input was changed";
  }
}

TEST_P(Conformance, StagingMemoryGivesTheSameAnswer) {
  Session session = engine().new_session();
  for (const std::int64_t n : {std::int64_t{2}, kMaxBatch, std::int64_t{1}}) {
    const Tensor in = input(n), expected = session.run(in.view());
    const Session::Staging staging = session.staging(n);
    ASSERT_EQ(staging.inputs.size(), 1u);
    ASSERT_EQ(staging.outputs.size(), 1u);
    std::memcpy(staging.inputs[0], in.data(), in.size_bytes());
    std::memset(staging.outputs[0], 0xff, expected.size_bytes());  // NaN
    session.submit(n, {staging.inputs[0]}, staging.outputs);
    session.wait();
    expect_agreement(Tensor::copy_of({DType::kFloat32, {n, 24}, staging.outputs[0]}), expected, "staging");
  }
}

TEST_P(Conformance, SessionsRunInThreads) {
  const Tensor expected = engine().new_session().run(input(kMaxBatch).view());
  std::vector<std::string> failures(3);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < failures.size(); ++t)
    threads.emplace_back([&, t] {
      try {
        Session session = engine().new_session();
        for (int i = 0; i < 5; ++i) {
          const std::int64_t n = kBatches[(static_cast<std::size_t>(i) + t) % std::size(kBatches)];
          const Tensor part = Tensor::copy_of({DType::kFloat32, {n, 24}, expected.data()});
          const Tensor output = session.run(input(n).view());
          const Agreement agreement = compare_outputs(output.view(), part.view(), tolerance_for(precision()));
          if (!agreement.ok) failures[t] = agreement.failure;
        }
      } catch (const std::exception& e) {
        failures[t] = e.what();
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::string& failure : failures) EXPECT_EQ(failure, "");
}

TEST_P(Conformance, WrongShapesAndTypesAreRefused) {
  Session session = engine().new_session();
  const auto refused = [&](const Tensor& wrong) { return refusal([&] { session.run(wrong.view()); }); };
  EXPECT_THAT(refused(Tensor::zeros(DType::kFloat32, {1, 3, 64, 65})), HasSubstr("Nx3x64x64"));
  EXPECT_THAT(refused(Tensor::zeros(DType::kFloat32, {1, 1, 64, 64})), HasSubstr("Nx3x64x64"));
  EXPECT_THAT(refused(Tensor::zeros(DType::kFloat16, {1, 3, 64, 64})), HasSubstr("float32"));
  EXPECT_NO_THROW(session.run(input(1).view()));
}

TEST_P(Conformance, ResidentRunsRepeatTheLastInput) {
  Session session = engine().new_session();
  const Tensor in = input(2), expected = session.run(in.view());
  if (!info().resident) {
    EXPECT_THAT(refusal([&] { session.submit(2, {}, {}, true); }), HasSubstr("no resident mode"));
    return;
  }
  for (int i = 0; i < 3; ++i) {
    session.submit(2, {}, {}, true);
    session.wait();
  }
  Tensor out = poisoned({2, 24});
  session.submit(2, {}, {out.data()}, true, true);
  session.wait();
  EXPECT_TRUE(identical(out, expected));
}

TEST_P(Conformance, TimesAreTimes) {
  Session session = engine().new_session();
  RunTimes times{-1, -1, -1, -1};
  session.run(input(1).view(), &times);
  for (const double ms : {times.enqueue_ms, times.h2d_ms, times.compute_ms, times.d2h_ms})
    EXPECT_TRUE(std::isnan(ms) || (ms >= 0 && ms < 60'000)) << ms;
  EXPECT_GT(times.compute_ms, 0);
}

TEST_P(Conformance, DamagedModelsAreRefused) {
  const Backend& backend = *subject_->backend;
  const std::string half = subject_->bytes.substr(0, subject_->bytes.size() / 2);
  for (const std::string& bytes :
       {std::string("this is no model at all, whatever it is"), half, std::string("\0", 1)}) {
    if (backend.info().reference) break;
    EXPECT_NE(refusal([&] { backend.info().builds ? backend.open_plan(bytes, {}) : backend.open_onnx(bytes, {}); }),
              "");
  }
  if (!backend.info().reference) return;
  ResNet incomplete;
  incomplete.architecture = network().architecture;
  for (const auto& [name, tensor] : network().weights)
    if (name != "layer2.0.bn1.running_var") incomplete.weights.emplace(name, tensor.clone());
  EXPECT_THAT(refusal([&] { backend.open_weights(incomplete, {}); }), HasSubstr("layer2.0.bn1.running_var"));
}

INSTANTIATE_TEST_SUITE_P(Every, Conformance,
                         testing::Combine(testing::ValuesIn(backend_names()), testing::Values("fp32", "fp16")),
                         [](const auto& name) { return std::get<0>(name.param) + "_" + std::get<1>(name.param); });

}  // namespace
}  // namespace ferry::conformance
