#include <fcntl.h>
#include <sys/stat.h>

#include <chrono>
#include <thread>

#include "engine/onnx_digest.h"
#include "engine/remember.h"
#include "ferry/pipeline.h"
#include "fixture.h"

namespace ferry {
namespace {

class Prepare : public EngineFiles {
 protected:
  // As if the file had been written ten seconds ago. The change time cannot be set: wait for it.
  static void settle(const std::string&) { std::this_thread::sleep_for(std::chrono::milliseconds(1100)); }
};

TEST_F(Prepare, ExportsOnceAndTakesItFromTheCacheThen) {
  const ResNet network = random_resnet(tiny_architecture(), 1);
  int exported = 0;
  const auto make = [&]() -> const ResNet& { return ++exported, network; };
  ExportOptions options;
  options.height = options.width = 32;
  const std::string identity = identity_of_random(tiny_architecture(), 1);
  const PreparedOnnx first = prepare_onnx(identity, options, make), again = prepare_onnx(identity, options, make);
  EXPECT_FALSE(first.cache_hit);
  EXPECT_TRUE(again.cache_hit);
  EXPECT_EQ(exported, 1);
  EXPECT_EQ(first.path, again.path);
  EXPECT_EQ(first.sha256, sha256_file(first.path, Stage::kOnnx));
  EXPECT_EQ(again.sha256, first.sha256);
}

TEST_F(Prepare, EverythingThatChangesTheFileChangesItsName) {
  const ResNet network = random_resnet(tiny_architecture(), 1);
  const auto make = [&]() -> const ResNet& { return network; };
  std::vector<std::string> paths;
  const auto add = [&](const std::string& identity, const ExportOptions& o) {
    paths.push_back(prepare_onnx(identity, o, make).path);
  };
  ExportOptions o;
  o.height = o.width = 32;
  add(identity_of_random(tiny_architecture(), 1), o);
  add(identity_of_random(tiny_architecture(), 2), o);
  ResNetArchitecture other = tiny_architecture();
  other.num_classes = 11;
  add(identity_of_random(other, 1), o);
  o.keep_batch_norm = true;
  add(identity_of_random(tiny_architecture(), 1), o);
  o.keep_batch_norm = false;
  o.height = 64;
  add(identity_of_random(tiny_architecture(), 1), o);
  o.height = 32;
  o.precision = Precision::kFp16;
  add(identity_of_random(tiny_architecture(), 1), o);
  o.fp16_io = true;
  add(identity_of_random(tiny_architecture(), 1), o);
  o.fp16_io = false;
  o.metadata = {{"preprocessing", "a"}};
  add(identity_of_random(tiny_architecture(), 1), o);
  o.metadata = {{"preprocessing", "b"}};
  add(identity_of_random(tiny_architecture(), 1), o);
  o.form.top_k = 2;
  add(identity_of_random(tiny_architecture(), 1), o);
  o.form.input = InputForm::kUint8Nhwc;
  add(identity_of_random(tiny_architecture(), 1), o);
  std::sort(paths.begin(), paths.end());
  EXPECT_EQ(std::unique(paths.begin(), paths.end()), paths.end());
}

TEST_F(Prepare, AFailingExportLeavesNothing) {
  const auto fail = []() -> const ResNet& { throw Error(Stage::kCheckpoint, "x.pth", "damaged"); };
  EXPECT_EQ(error_of([&] { prepare_onnx("x", {}, fail); }).subject(), "x.pth");
  EXPECT_TRUE(files(path("cache")).empty());
}

TEST_F(Prepare, TheIdentityOfACheckpointIsItsContent) {
  std::ofstream(path("a.pth")) << "one";
  std::ofstream(path("b.pth")) << "one";
  EXPECT_EQ(identity_of_checkpoint(path("a.pth")), identity_of_checkpoint(path("b.pth")));
  std::ofstream(path("b.pth")) << "two";  // same size, at once
  EXPECT_NE(identity_of_checkpoint(path("a.pth")), identity_of_checkpoint(path("b.pth")));
  EXPECT_EQ(error_of([&] { identity_of_checkpoint(path("c.pth")); }).subject(), path("c.pth"));
}

TEST_F(Prepare, RemembersWhatDidNotChangeAndNothingElse) {
  const std::string file = path("file");
  std::ofstream(file) << "one";
  int asked = 0;
  const auto find_out = [&] { return slurp(file) + " " + std::to_string(++asked); };
  const auto value = [&] { return remembered(file, "kind", Stage::kOpen, find_out); };
  EXPECT_EQ(value(), "one 1");
  EXPECT_EQ(value(), "one 2");  // too fresh to be remembered
  settle(file);
  EXPECT_EQ(value(), "one 3");
  EXPECT_EQ(value(), "one 3");
  EXPECT_EQ(remembered(file, "other kind", Stage::kOpen, find_out), "one 4");
  const timespec times[2] = {{0, UTIME_OMIT}, {1, 0}};  // same size, an old date: the change time gives it away
  std::ofstream(file, std::ios::trunc) << "two";
  ::utimensat(AT_FDCWD, file.c_str(), times, 0);
  EXPECT_EQ(value(), "two 5");
}

// A field of a protobuf message: number, length, bytes.
std::string field(int number, const std::string& bytes) {
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(bytes.size())} + bytes;
}

TEST_F(Prepare, WeightsInAnotherFileBelongToTheDigestOfAnOnnx) {
  const std::string entry = field(1, "location") + field(2, "w.bin");     // StringStringEntryProto
  std::ofstream(path("x.onnx")) << field(7, field(5, field(13, entry)));  // graph, initializer, external
  std::ofstream(path("plain.onnx")) << field(7, field(2, "a node's name says location"));  // the word alone is no file
  EXPECT_EQ(onnx_digest(path("plain.onnx"), Stage::kOpen), sha256_file(path("plain.onnx"), Stage::kOpen));
  EXPECT_EQ(error_of([&] { onnx_digest(path("x.onnx"), Stage::kOpen); }).subject(), path("w.bin"));
  std::ofstream(path("w.bin")) << "weights";
  const std::string before = onnx_digest(path("x.onnx"), Stage::kOpen);
  EXPECT_NE(before, sha256_file(path("x.onnx"), Stage::kOpen));
  std::ofstream(path("w.bin")) << "changed";
  EXPECT_NE(onnx_digest(path("x.onnx"), Stage::kOpen), before);
}

TEST_F(Prepare, WithoutACacheItStillFindsOut) {
  std::ofstream(path("file")) << "one";
  std::ofstream(path("no folder")) << "";
  set("XDG_CACHE_HOME", path("no folder"));
  EXPECT_EQ(remembered(path("file"), "kind", Stage::kOpen, [] { return std::string("found"); }), "found");
  EXPECT_EQ(onnx_digest(onnx_, Stage::kOpen), sha256_file(onnx_, Stage::kOpen));
}

}  // namespace
}  // namespace ferry
