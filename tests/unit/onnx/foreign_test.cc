// prepare_foreign on small models made by hand; real exporters' files are in tests/golden.
#include <gmock/gmock.h>

#include <functional>

#include "ferry/error.h"
#include "models.h"

namespace ferry {
namespace {

using onnx::TensorProto;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// A network as exporters write it: conv, pooling, something that flattens (added by the test), Gemm.
class Foreign {
 public:
  explicit Foreign(int opset = 17, std::int64_t batch = 1) : impl_(test::empty_model(opset)) {
    set_value(*graph().add_input(), "x", TensorProto::FLOAT, {batch, 3, 8, 8});
    test::add_floats(graph(), "w", {4, 3, 1, 1}, std::vector<float>(12, 0.5f));
    test::add_floats(graph(), "fc", {2, 4}, std::vector<float>(8, 0.25f));
    test::add_node(graph(), "Conv", "conv", {"x", "w"}, {"conv"});
    test::add_node(graph(), "GlobalAveragePool", "pool", {"conv"}, {"pool"});
  }

  onnx::GraphProto& graph() { return *impl_->proto.mutable_graph(); }
  onnx::ModelProto& proto() { return impl_->proto; }

  OnnxModel finish(std::int64_t batch = 1) {
    set_attribute(test::add_node(graph(), "Gemm", "gemm", {"flat", "fc"}, {"y"}), "transB", std::int64_t{1});
    set_value(*graph().add_output(), "y", TensorProto::FLOAT, {batch, 2});
    return OnnxModel(std::move(impl_));
  }
  OnnxModel finish_plain(std::int64_t batch = 1) {
    test::add_node(graph(), "Flatten", "flatten", {"pool"}, {"flat"});
    return finish(batch);
  }
  OnnxModel take() { return OnnxModel(std::move(impl_)); }

 private:
  std::unique_ptr<OnnxModel::Impl> impl_;
};

void expect_ready(const OnnxModel& model) {
  EXPECT_NO_THROW(model.check());
  const OnnxSummary summary = model.summary();
  EXPECT_EQ(summary.opset, 17);
  ASSERT_EQ(summary.inputs.size(), 1u);
  EXPECT_THAT(summary.inputs[0].shape, ElementsAre(-1, 3, 8, 8));
  ASSERT_EQ(summary.outputs.size(), 1u);
  EXPECT_THAT(summary.outputs[0].shape, ElementsAre(-1, 2));
}

Error refusal(OnnxModel model) {
  try {
    prepare_foreign(model);
  } catch (const Error& e) {
    EXPECT_EQ(e.stage(), Stage::kOnnx);
    return e;
  }
  return Error(Stage::kUsage, "", "nothing was refused");
}

TEST(PrepareForeign, LeavesAGoodModelAlone) {
  OnnxModel model = Foreign(17, -1).finish_plain(-1);
  const std::string before = model.serialize();
  EXPECT_THAT(prepare_foreign(model).changes, IsEmpty());
  EXPECT_EQ(model.serialize(), before);
}

TEST(PrepareForeign, MakesAFixedBatchDynamic) {
  OnnxModel model = Foreign().finish_plain();
  EXPECT_THAT(prepare_foreign(model).changes, ElementsAre("the batch was fixed at 1: dynamic now"));
  expect_ready(model);
}

TEST(PrepareForeign, FreesAReshapeThatFixesTheBatch) {
  for (const std::vector<std::int64_t>& target : {std::vector<std::int64_t>{2, 4}, {2, -1}, {-1, 4}}) {
    Foreign foreign(17, 2);
    *foreign.graph().add_initializer() = make_int64s("target", target);
    test::add_node(foreign.graph(), "Reshape", "reshape", {"pool", "target"}, {"flat"});
    OnnxModel model = foreign.finish(2);
    prepare_foreign(model);
    expect_ready(model);
  }
}

TEST(PrepareForeign, ComputesConstantShapes) {
  Foreign foreign(11);  // as the TorchScript exporter writes x.view(x.size(0), -1) for a fixed batch
  const auto constant = [&](const std::string& name, std::int64_t value) {
    auto& attribute = *test::add_node(foreign.graph(), "Constant", name, {}, {name}).add_attribute();
    attribute.set_name("value");
    attribute.set_type(onnx::AttributeProto::TENSOR);
    *attribute.mutable_t() = make_int64s("", {value});
    attribute.mutable_t()->clear_dims();
    set_attribute(test::add_node(foreign.graph(), "Unsqueeze", name + "u", {name}, {name + "u"}), "axes",
                  std::vector<std::int64_t>{0});
  };
  constant("one", 1);
  constant("rest", -1);
  set_attribute(test::add_node(foreign.graph(), "Concat", "concat", {"oneu", "restu"}, {"target"}), "axis",
                std::int64_t{0});
  test::add_node(foreign.graph(), "Reshape", "reshape", {"pool", "target"}, {"flat"});
  OnnxModel model = foreign.finish();
  EXPECT_THAT(prepare_foreign(model).changes, Contains("computed 5 constants"));
  expect_ready(model);
  EXPECT_EQ(test::count_of(model, "Concat"), 0);
}

TEST(PrepareForeign, ReplacesShapesComputedFromADynamicBatch) {
  Foreign foreign(17, -1);
  onnx::GraphProto& graph = foreign.graph();
  *graph.add_initializer() = make_int64s("zero", {0});
  *graph.add_initializer() = make_int64s("rest", {-1});
  test::add_node(graph, "Shape", "shape", {"pool"}, {"shape"});
  test::add_node(graph, "Gather", "gather", {"shape", "zero"}, {"n"});
  set_attribute(test::add_node(graph, "Concat", "concat", {"n", "rest"}, {"target"}), "axis", std::int64_t{0});
  test::add_node(graph, "Reshape", "reshape", {"pool", "target"}, {"flat"});
  OnnxModel model = foreign.finish(-1);
  prepare_foreign(model);
  expect_ready(model);
  EXPECT_EQ(test::count_of(model, "Shape"), 0);
}

TEST(PrepareForeign, FollowsIdentitiesOfSharedWeights) {
  Foreign foreign;
  test::add_node(foreign.graph(), "Identity", "shared", {"w"}, {"w2"});
  foreign.graph().mutable_node()->SwapElements(0, 2);
  foreign.graph().mutable_node()->SwapElements(1, 2);
  foreign.graph().mutable_node(1)->set_input(1, "w2");
  OnnxModel model = foreign.finish_plain();
  prepare_foreign(model);
  expect_ready(model);
  EXPECT_EQ(test::count_of(model, "Identity"), 0);
}

TEST(PrepareForeign, BringsOpset18Down) {
  Foreign foreign(18);
  foreign.proto().set_ir_version(10);
  foreign.graph().mutable_node()->RemoveLast();
  *foreign.graph().add_initializer() = make_int64s("axes", {2, 3});
  onnx::NodeProto& mean = test::add_node(foreign.graph(), "ReduceMean", "mean", {"conv", "axes"}, {"flat"});
  set_attribute(mean, "keepdims", std::int64_t{0});
  set_attribute(mean, "noop_with_empty_axes", std::int64_t{0});
  OnnxModel model = OnnxModel::from_bytes(foreign.finish().serialize(), "opset 18");
  EXPECT_THAT(prepare_foreign(model).changes, Contains("rewrote opset 18 as opset 17"));
  expect_ready(model);
  EXPECT_EQ(model.summary().ir_version, 8);
}

TEST(PrepareForeign, NamesTheNodeOfANewerOpsetThatHasNoEqual) {
  Foreign foreign(20);
  test::add_node(foreign.graph(), "Gelu", "gelu", {"pool"}, {"gelu"});
  test::add_node(foreign.graph(), "Flatten", "flatten", {"gelu"}, {"flat"});
  const Error e = refusal(foreign.finish());
  EXPECT_EQ(e.subject(), "gelu (Gelu)");
  EXPECT_THAT(e.hint(), HasSubstr("opset_version=17"));
}

TEST(PrepareForeign, KeepsAnOlderOpsetWhereAMeaningChanged) {
  Foreign foreign(11);
  set_attribute(test::add_node(foreign.graph(), "Softmax", "softmax", {"pool"}, {"soft"}), "axis", std::int64_t{1});
  test::add_node(foreign.graph(), "Flatten", "flatten", {"soft"}, {"flat"});
  OnnxModel model = foreign.finish();
  EXPECT_THAT(prepare_foreign(model).changes, Contains(HasSubstr("kept opset 11: softmax (Softmax)")));
  EXPECT_EQ(model.summary().opset, 11);
  model.check();
}

TEST(PrepareForeign, TurnsAChannelsLastInputThatIsTransposedAtOnce) {
  auto impl = test::empty_model();
  onnx::GraphProto& graph = *impl->proto.mutable_graph();
  set_value(*graph.add_input(), "x", TensorProto::FLOAT, {-1, 8, 8, 3});
  test::add_floats(graph, "w", {4, 3, 8, 8}, std::vector<float>(768, 0.5f));
  set_attribute(test::add_node(graph, "Transpose", "turn", {"x"}, {"t"}), "perm", {0, 3, 1, 2});
  test::add_node(graph, "Conv", "conv", {"t", "w"}, {"y"});
  test::finish(graph, "y", {-1, 4, 1, 1});
  OnnxModel model(std::move(impl));
  prepare_foreign(model);
  EXPECT_THAT(model.summary().inputs[0].shape, ElementsAre(-1, 3, 8, 8));
  EXPECT_EQ(test::count_of(model, "Transpose"), 0);
}

TEST(PrepareForeign, RefusesChannelsLastWithoutTranspose) {
  auto impl = test::empty_model();
  onnx::GraphProto& graph = *impl->proto.mutable_graph();
  set_value(*graph.add_input(), "x", TensorProto::FLOAT, {-1, 8, 8, 3});
  test::add_node(graph, "Relu", "first", {"x"}, {"y"});
  test::finish(graph, "y", {-1, 8, 8, 3});
  const Error e = refusal(OnnxModel(std::move(impl)));
  EXPECT_EQ(e.subject(), "first (Relu)");
  EXPECT_THAT(e.cause(), HasSubstr("channels last"));
}

TEST(PrepareForeign, FixesAFreeImageSize) {
  Foreign foreign(17, -1);
  auto& shape = *foreign.graph().mutable_input(0)->mutable_type()->mutable_tensor_type()->mutable_shape();
  shape.mutable_dim(2)->set_dim_param("height");
  shape.mutable_dim(3)->set_dim_param("width");
  OnnxModel model = foreign.finish_plain(-1);
  prepare_foreign(model);
  EXPECT_THAT(model.summary().inputs[0].shape, ElementsAre(-1, 3, 224, 224));
}

TEST(PrepareForeign, RefusesOtherPortsByName) {
  {
    Foreign foreign;
    set_value(*foreign.graph().add_input(), "mask", TensorProto::FLOAT, {1, 8});
    const Error e = refusal(foreign.finish_plain());
    EXPECT_THAT(e.subject(), HasSubstr("'mask'"));
    EXPECT_THAT(e.cause(), HasSubstr("2 inputs"));
  }
  {
    Foreign foreign;
    set_value(*foreign.graph().add_output(), "pool", TensorProto::FLOAT, {1, 4, 1, 1});
    EXPECT_THAT(refusal(foreign.finish_plain()).cause(), HasSubstr("2 outputs"));
  }
  {
    auto impl = test::empty_model();
    onnx::GraphProto& graph = *impl->proto.mutable_graph();
    set_value(*graph.add_input(), "input_ids", TensorProto::INT64, {1, 128});
    set_attribute(test::add_node(graph, "Cast", "cast", {"input_ids"}, {"y"}), "to", std::int64_t{1});
    test::finish(graph, "y", {1, 128});
    const Error e = refusal(OnnxModel(std::move(impl)));
    EXPECT_EQ(e.subject(), "input_ids");
    EXPECT_THAT(e.cause(), HasSubstr("int64 1x128"));
  }
  {
    Foreign foreign;
    test::add_node(foreign.graph(), "ArgMax", "best", {"pool"}, {"best"});
    set_value(*foreign.graph().add_output(), "best", TensorProto::INT64, {1, 4, 1, 1});
    EXPECT_EQ(refusal(foreign.take()).subject(), "best");
  }
}

TEST(PrepareForeign, NamesTheNodeThatFixesTheBatch) {
  Foreign foreign;
  *foreign.graph().add_initializer() = make_int64s("starts", {0});
  *foreign.graph().add_initializer() = make_int64s("ends", {1});
  test::add_node(foreign.graph(), "Slice", "slice", {"pool", "starts", "ends", "starts"}, {"slice"});
  test::add_node(foreign.graph(), "Flatten", "flatten", {"slice"}, {"flat"});
  const Error e = refusal(foreign.finish());
  EXPECT_EQ(e.subject(), "slice (Slice)");
  EXPECT_THAT(e.cause(), HasSubstr("fixes the batch at 1"));
}

TEST(PrepareForeign, DoesNotTakeEveryReshapeForAFlatten) {
  Foreign foreign;  // [1,4,1,1] -> [4,1]: the first dimension is no batch
  *foreign.graph().add_initializer() = make_int64s("target", {4, 1});
  test::add_node(foreign.graph(), "Reshape", "reshape", {"pool", "target"}, {"y"});
  set_value(*foreign.graph().add_output(), "y", TensorProto::FLOAT, {4, 1});
  EXPECT_EQ(refusal(foreign.take()).subject(), "reshape (Reshape)");
}

TEST(PrepareForeign, RefusesOperatorsOfOneVendor) {
  Foreign foreign;
  test::add_node(foreign.graph(), "FusedConv", "fused", {"pool"}, {"f"}).set_domain("com.microsoft");
  foreign.proto().add_opset_import()->set_domain("com.microsoft");
  foreign.proto().mutable_opset_import(1)->set_version(1);
  test::add_node(foreign.graph(), "Flatten", "flatten", {"f"}, {"flat"});
  const Error e = refusal(foreign.finish());
  EXPECT_EQ(e.subject(), "fused (FusedConv)");
  EXPECT_THAT(e.cause(), HasSubstr("com.microsoft"));
}

TEST(PrepareForeign, GivesEveryNodeANameOfItsOwn) {
  Foreign foreign;
  foreign.graph().mutable_node(0)->clear_name();
  foreign.graph().mutable_node(1)->set_name("flatten");
  OnnxModel model = foreign.finish_plain();
  prepare_foreign(model);
  std::set<std::string> names;
  for (const auto& node : model.impl().proto.graph().node()) EXPECT_TRUE(names.insert(node.name()).second);
  EXPECT_FALSE(names.contains(""));
}

TEST(PrepareForeign, ThenFoldsBatchNormAndHalves) {
  auto impl = test::conv_model();
  test::add_batch_norm(*impl->proto.mutable_graph(), "conv", "bn");
  test::finish(*impl->proto.mutable_graph(), "bn", {-1, 3, 4, 4});
  impl->proto.mutable_graph()
      ->mutable_input(0)
      ->mutable_type()
      ->mutable_tensor_type()
      ->mutable_shape()
      ->mutable_dim(1)
      ->set_dim_value(2);
  OnnxModel model(std::move(impl));
  prepare_foreign(model);
  EXPECT_EQ(fold_batch_norm(model), 1);
  EXPECT_EQ(convert_to_fp16(model, true), 2);
  model.check();
}

}  // namespace
}  // namespace ferry
