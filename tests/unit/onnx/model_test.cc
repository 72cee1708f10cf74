#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "base/files.h"
#include "ferry/error.h"
#include "models.h"

namespace ferry {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using Block = ResNetArchitecture::Block;

class OnnxFiles : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(folder_); }
  void TearDown() override { fs::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  fs::path folder_ = fs::temp_directory_path() / ("ferry_onnx_" + std::to_string(::getpid()) + "_" +
                                                  testing::UnitTest::GetInstance()->current_test_info()->name());
};

Error error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& e) {
    return e;
  }
  return Error(Stage::kUsage, "no error", "no error");
}

TEST_F(OnnxFiles, SaveReturnsTheHashOfTheFile) {
  const OnnxModel model = export_onnx(random_resnet(test::narrow(Block::kBasic), 1));
  const std::string digest = model.save(path("a.onnx"));
  EXPECT_EQ(digest, sha256_file(path("a.onnx"), Stage::kOnnx));
  EXPECT_EQ(read_file(path("a.onnx"), Stage::kOnnx), model.serialize());
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1) << "a temporary file was left behind";
}

TEST_F(OnnxFiles, LoadGivesBackWhatWasSaved) {
  const OnnxModel model = export_onnx(random_resnet(test::narrow(Block::kBottleneck), 1));
  model.save(path("a.onnx"));
  EXPECT_EQ(OnnxModel::load(path("a.onnx")).serialize(), model.serialize());
  EXPECT_EQ(model.clone().serialize(), model.serialize());
}

TEST_F(OnnxFiles, SavingWhereItCannotBeWrittenSaysSo) {
  const OnnxModel model = export_onnx(random_resnet(test::narrow(Block::kBasic), 1));
  EXPECT_EQ(error_of([&] { model.save(path("none/a.onnx")); }).subject(), path("none/a.onnx"));
}

TEST_F(OnnxFiles, FilesThatAreNoModelAreRefused) {
  EXPECT_THAT(error_of([&] { OnnxModel::load(path("none.onnx")); }).cause(), HasSubstr("cannot read"));
  EXPECT_THROW(OnnxModel::load(folder_.string()), Error);
  write_file(path("text.onnx"), "not a model", Stage::kOnnx);
  EXPECT_THROW(OnnxModel::load(path("text.onnx")), Error);
  write_file(path("empty.onnx"), "", Stage::kOnnx);
  EXPECT_THROW(OnnxModel::load(path("empty.onnx")), Error);
}

TEST_F(OnnxFiles, ACutFileIsRefusedAtEveryLength) {
  const std::string bytes = export_onnx(random_resnet(test::narrow(Block::kBasic, 1, 8), 1)).serialize();
  for (std::size_t size = 0; size < bytes.size(); size += 997)
    EXPECT_THROW(OnnxModel::from_bytes(bytes.substr(0, size), "cut"), Error) << size;
}

/// A model whose conv weights lie in another file.
std::string external_model(const std::string& location, const std::string& offset, const std::string& length) {
  auto impl = test::conv_model();
  onnx::GraphProto& graph = *impl->proto.mutable_graph();
  test::finish(graph, "conv", {-1, 3, 4, 4});
  onnx::TensorProto& weight = *graph.mutable_initializer(0);
  weight.clear_raw_data();
  weight.set_data_location(onnx::TensorProto::EXTERNAL);
  for (const auto& [key, value] : {std::pair{"location", location}, {"offset", offset}, {"length", length}}) {
    auto& entry = *weight.add_external_data();
    entry.set_key(key);
    entry.set_value(value);
  }
  return impl->proto.SerializeAsString();
}

TEST_F(OnnxFiles, ReadsExternalWeights) {
  const std::vector<float> values{9, 9, 1, 2, 3, 4, 5, 6};
  write_file(path("w.data"), {reinterpret_cast<const char*>(values.data()), 32}, Stage::kOnnx);
  write_file(path("m.onnx"), external_model("w.data", "8", "24"), Stage::kOnnx);
  const OnnxModel model = OnnxModel::load(path("m.onnx"));
  EXPECT_THAT(test::weight_values(model, "conv.weight"), ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST_F(OnnxFiles, ExternalWeightsMustBeThereAndInside) {
  write_file(path("w.data"), std::string(32, 'x'), Stage::kOnnx);
  const auto load = [&](const std::string& location, const std::string& offset, const std::string& length) {
    write_file(path("m.onnx"), external_model(location, offset, length), Stage::kOnnx);
    const Error e = error_of([&] { OnnxModel::load(path("m.onnx")); });
    EXPECT_EQ(e.subject(), "conv.weight") << e.what();
    return e.cause();
  };
  EXPECT_THAT(load("gone.data", "0", "24"), HasSubstr("gone.data"));
  EXPECT_THAT(load("w.data", "16", "24"), HasSubstr("bytes"));
  EXPECT_THAT(load("w.data", "18446744073709551615", "24"), HasSubstr("bytes"));
  EXPECT_THAT(load("w.data", "0", "18446744073709551615"), HasSubstr("bytes"));
  EXPECT_THAT(load("w.data", "-1", "24"), HasSubstr("'-1'"));
  EXPECT_THAT(load("w.data", "0", "20"), HasSubstr("needs 24 bytes"));
  EXPECT_THAT(load("../w.data", "0", "24"), HasSubstr("w.data"));
  EXPECT_THAT(load("/etc/hostname", "0", "1"), HasSubstr("/etc/hostname"));
  fs::create_symlink("/etc/hostname", path("link"));
  EXPECT_THAT(load("link", "0", "1"), HasSubstr("outside"));
  EXPECT_THROW(OnnxModel::from_bytes(external_model("w.data", "0", "24"), "bytes"), Error);
}

TEST(OnnxCheck, NamesTheNodeThatTheCheckerRefuses) {
  auto impl = test::conv_model();
  test::finish(*impl->proto.mutable_graph(), "conv", {-1, 3, 4, 4});
  set_attribute(*impl->proto.mutable_graph()->mutable_node(0), "no_such_attribute", std::int64_t{1});
  const OnnxModel model(std::move(impl));
  EXPECT_EQ(error_of([&] { model.check(); }).subject(), "conv (Conv)");
}

TEST(OnnxCheck, NamesTheNodeWhoseShapesContradict) {
  auto impl = test::conv_model();
  onnx::GraphProto& graph = *impl->proto.mutable_graph();
  test::add_floats(graph, "five", {5}, {1, 2, 3, 4, 5});
  test::add_node(graph, "Add", "sum", {"conv", "five"}, {"sum"});
  test::finish(graph, "sum", {-1, 3, 4, 4});
  const OnnxModel model(std::move(impl));
  EXPECT_EQ(error_of([&] { model.check(); }).subject(), "sum");
}

TEST(OnnxCheck, NamesTheNodeWhoseInputNobodyMakes) {
  auto impl = test::conv_model();
  onnx::GraphProto& graph = *impl->proto.mutable_graph();
  test::add_node(graph, "Relu", "relu", {"nothing"}, {"relu"});
  test::finish(graph, "relu", {-1, 3, 4, 4});
  const Error e = error_of([&] { OnnxModel(std::move(impl)).check(); });
  EXPECT_EQ(e.subject(), "relu (Relu)");
  EXPECT_THAT(e.cause(), HasSubstr("'nothing'"));
}

TEST(OnnxCheck, NamesTheWeightOfTheWrongSize) {
  auto impl = test::conv_model();
  onnx::GraphProto& graph = *impl->proto.mutable_graph();
  test::finish(graph, "conv", {-1, 3, 4, 4});
  graph.mutable_initializer(0)->mutable_raw_data()->pop_back();
  EXPECT_EQ(error_of([&] { OnnxModel(std::move(impl)).check(); }).subject(), "conv.weight");
}

TEST(OnnxLoad, TypedFieldsAndOldStyleInputsMeanTheSame) {
  auto impl = test::conv_model();
  onnx::GraphProto& graph = *impl->proto.mutable_graph();
  test::finish(graph, "conv", {-1, 3, 4, 4});
  impl->proto.set_ir_version(3);
  set_value(*graph.add_input(), "conv.weight", onnx::TensorProto::FLOAT, {3, 2, 1, 1});
  onnx::TensorProto& weight = *graph.mutable_initializer(0);
  weight.clear_raw_data();
  for (int i = 1; i <= 6; ++i) weight.add_float_data(static_cast<float>(i));
  const OnnxModel model = OnnxModel::from_bytes(impl->proto.SerializeAsString(), "old");
  EXPECT_EQ(model.summary().inputs.size(), 1u);
  EXPECT_THAT(test::weight_values(model, "conv.weight"), ElementsAre(1, 2, 3, 4, 5, 6));
}

}  // namespace
}  // namespace ferry
