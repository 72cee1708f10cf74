// The sums about shapes that exporters write into graphs.
#include "onnx/foreign/evaluate.h"

#include <gmock/gmock.h>

#include "models.h"

namespace ferry {
namespace {

using testing::ElementsAre;

class Evaluate : public testing::Test {
 protected:
  std::string number(std::int64_t value) { return numbers({value}); }
  std::string numbers(const std::vector<std::int64_t>& values) {
    return add(make_int64s("c" + std::to_string(kept_.size()), values));
  }
  std::string add(onnx::TensorProto tensor) {
    *kept_.Add() = std::move(tensor);
    weights_[kept_.rbegin()->name()] = &*kept_.rbegin();
    return kept_.rbegin()->name();
  }
  onnx::NodeProto& node(const std::string& op, const std::vector<std::string>& inputs) {
    return test::add_node(graph_, op, op, inputs, {"out"});
  }
  std::vector<std::int64_t> values(const onnx::NodeProto& of) {
    const auto result = evaluate(of, weights_);
    return result ? integers_of(*result) : std::vector<std::int64_t>{-999};
  }

  google::protobuf::RepeatedPtrField<onnx::TensorProto> kept_;
  Weights weights_;
  onnx::GraphProto graph_;
};

TEST_F(Evaluate, SliceForwardsAndBackwards) {
  const std::string five = numbers({10, 11, 12, 13, 14}), axis = number(0);
  const auto slice = [&](std::int64_t start, std::int64_t end, std::int64_t step) {
    return values(node("Slice", {five, number(start), number(end), axis, number(step)}));
  };
  EXPECT_THAT(slice(1, 3, 1), ElementsAre(11, 12));
  EXPECT_THAT(slice(-2, INT64_MAX, 1), ElementsAre(13, 14));
  EXPECT_THAT(slice(-1, INT64_MIN, -1), ElementsAre(14, 13, 12, 11, 10));
  EXPECT_THAT(slice(0, 5, 2), ElementsAre(10, 12, 14));
  EXPECT_THAT(slice(3, 1, 1), ElementsAre());
  EXPECT_THAT(slice(0, 5, INT64_MAX), ElementsAre(10));
  EXPECT_THAT(slice(0, 5, 0), ElementsAre(-999)) << "no step is no slice";
}

TEST_F(Evaluate, TransposesAMatrix) {
  onnx::TensorProto matrix = make_int64s("m", {1, 2, 3, 4, 5, 6});
  matrix.clear_dims();
  matrix.add_dims(2);
  matrix.add_dims(3);
  EXPECT_THAT(values(node("Transpose", {add(matrix)})), ElementsAre(1, 4, 2, 5, 3, 6));
}

TEST_F(Evaluate, GathersConcatenatesAndReshapes) {
  const std::string shape = numbers({8, 3, 224});
  EXPECT_THAT(values(node("Gather", {shape, numbers({-1, 0})})), ElementsAre(224, 8));
  EXPECT_THAT(values(node("Gather", {shape, number(3)})), ElementsAre(-999)) << "outside";
  EXPECT_THAT(values(node("Concat", {shape, number(7)})), ElementsAre(8, 3, 224, 7));
  EXPECT_THAT(values(node("Reshape", {shape, numbers({3, -1})})), ElementsAre(8, 3, 224));
  EXPECT_THAT(values(node("Reshape", {shape, numbers({2, -1})})), ElementsAre(-999)) << "3 is not 2 times something";
}

TEST_F(Evaluate, NeedsToKnowEveryInput) {
  EXPECT_THAT(values(node("Concat", {number(1), "activation"})), ElementsAre(-999));
  EXPECT_THAT(values(node("Shape", {"activation"})), ElementsAre(-999));
}

}  // namespace
}  // namespace ferry
