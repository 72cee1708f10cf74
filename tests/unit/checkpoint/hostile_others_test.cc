// The legacy format and safetensors, well formed and not.
#include <gmock/gmock.h>

#include "archives.h"
#include "fixtures.h"

namespace ferry {
namespace {

using testing::HasSubstr;

std::string other_cause(const std::string& bytes) {
  const Error error = error_of([&] { Checkpoint::from_bytes(bytes, "x"); });
  EXPECT_EQ(error.stage(), Stage::kCheckpoint);
  return error.subject() + ": " + error.cause();
}

const std::string kSixOfOther(24, '\1');
std::string key_list(const std::vector<std::string>& keys) {
  Pickle list;
  list.op("](");
  for (const std::string& key : keys) list.text(key);
  return list.op("e").done();
}

TEST(Legacy, ReadsStoragesAndWindowsOfThem) {
  Pickle pickle;
  pickle.op("}").text("whole").tensor("FloatStorage", "0", 6, 0, {6}, {1}).op("s").text("window");
  pickle.global("torch._utils", "_rebuild_tensor_v2")
      .op("((")
      .text("storage")
      .global("torch", "FloatStorage")
      .text("0");
  pickle.text("cpu").number(6).op("(").text("view").number(2).number(3).op("ttQ");
  pickle.number(1).numbers({2}).numbers({1}).op("\x89N").op("tRs");
  std::string data;
  for (int i = 0; i < 6; ++i) data += le(static_cast<std::uint64_t>(i), 4);
  const Checkpoint checkpoint =
      Checkpoint::from_bytes(torch_legacy(pickle.done(), key_list({"0"}), le(6, 8) + data), "x");
  EXPECT_EQ(checkpoint.find("window")->data, checkpoint.find("whole")->data + (2 + 1) * 4);
}

TEST(Legacy, ReadsWhatPyTorchBefore04Wrote) {
  // Parameters are made by calling their class, tensors by _rebuild_tensor, text is Python 2's, the dictionary is
  // pairs.
  Pickle pickle;
  pickle.global("collections", "OrderedDict").op("](](").op(std::string("U\x01") + "w");
  pickle.global("torch.nn.parameter", "Parameter").global("torch._utils", "_rebuild_tensor").op("(");
  pickle.storage("FloatStorage", "0", 6).number(0).numbers({2, 3}).numbers({3, 1}).op("tR\x85R(\x88\x89}tb");
  pickle.op("ee\x85R");
  const Checkpoint checkpoint =
      Checkpoint::from_bytes(torch_legacy(pickle.done(), key_list({"0"}), le(6, 8) + kSixOfOther), "x");
  ASSERT_NE(checkpoint.find("w"), nullptr);
  EXPECT_EQ(checkpoint.find("w")->shape, (Shape{2, 3}));
}

TEST(Legacy, ReadsFilesOfPickleProtocol4) {
  std::string file = torch_legacy(one_tensor(), key_list({"0"}), le(6, 8) + kSixOfOther);
  file.replace(0, 2, std::string("\x80\x04\x95") + le(13, 8));
  EXPECT_EQ(Checkpoint::from_bytes(file, "x").format(), CheckpointFormat::kTorchLegacy);
}

TEST(Legacy, EveryTruncationIsAnError) {
  const std::string file = torch_legacy(one_tensor(), key_list({"0"}), le(6, 8) + kSixOfOther);
  ASSERT_NO_THROW(Checkpoint::from_bytes(file, "x"));
  for (std::size_t size = 0; size < file.size(); ++size)
    EXPECT_THROW(Checkpoint::from_bytes(file.substr(0, size), "x"), Error) << size;
}

TEST(Legacy, LyingStoragesAreRefused) {
  EXPECT_THAT(other_cause(torch_legacy(one_tensor(), key_list({"0"}), le(~0ull, 8) + kSixOfOther)),
              HasSubstr("claims 18446744073709551615"));
  EXPECT_THAT(other_cause(torch_legacy(one_tensor(), key_list({"0"}), le(1ull << 62, 8) + kSixOfOther)),
              HasSubstr("ends before that"));
  EXPECT_THAT(other_cause(torch_legacy(one_tensor(), key_list({"0"}), le(5, 8) + kSixOfOther)),
              HasSubstr("claims 6 elements"));
  EXPECT_THAT(other_cause(torch_legacy(one_tensor(), key_list({}), "")), HasSubstr("no storage '0'"));
  EXPECT_THAT(other_cause(torch_legacy(one_tensor(), key_list({"0", "0"}),
                                       le(3, 8) + kSixOfOther.substr(12) + le(3, 8) + kSixOfOther)),
              HasSubstr("listed twice"));
  EXPECT_THAT(other_cause(torch_legacy(one_tensor(), key_list({"9"}), le(6, 8) + kSixOfOther)),
              HasSubstr("no tensor uses"));
  EXPECT_THAT(other_cause(torch_legacy(one_tensor(), Pickle().number(1).done(), "")), HasSubstr("list of storages"));
}

TEST(Legacy, ForeignGlobalsAndVersionsAreRefused) {
  EXPECT_THAT(other_cause(torch_legacy(Pickle().global("posix", "system").op(")R").done(), key_list({}), "")),
              HasSubstr("posix.system"));
  const std::string magic("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
  EXPECT_THAT(other_cause(magic + Pickle().number(7).done()), HasSubstr("version is not 1001"));
  EXPECT_THAT(
      other_cause(magic + Pickle().number(1001).done() + Pickle().op("}").text("little_endian").op("\x89s").done()),
      HasSubstr("not little-endian"));
}

constexpr const char* kOne = R"({"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}})";

TEST(Safetensors, ReadsTensorsAndSkipsMetadata) {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F16","shape":[],"data_offsets":[24,26]},"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}  )";
  const Checkpoint checkpoint = Checkpoint::from_bytes(safetensors(header, kSixOfOther + "\x01\x02"), "x");
  ASSERT_EQ(checkpoint.tensors().size(), 2u);
  EXPECT_EQ(checkpoint.tensors()[0].name, "w");
  EXPECT_EQ(checkpoint.find("b")->dtype, DType::kFloat16);
}

TEST(Safetensors, EveryTruncationIsAnError) {
  const std::string file = safetensors(kOne, kSixOfOther);
  ASSERT_NO_THROW(Checkpoint::from_bytes(file, "x"));
  for (std::size_t size = 0; size < file.size(); ++size)
    EXPECT_THROW(Checkpoint::from_bytes(file.substr(0, size), "x"), Error) << size;
}

TEST(Safetensors, LyingHeadersAreRefused) {
  const auto with = [](const std::string& header) { return other_cause(safetensors(header, kSixOfOther)); };
  EXPECT_THAT(other_cause(le(1ull << 40, 8) + "{}"), HasSubstr("claims 1099511627776 bytes"));
  EXPECT_THAT(with(R"({"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,25]}})"), HasSubstr("outside the file"));
  EXPECT_THAT(with(R"({"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,24]}})"),
              HasSubstr("not what its 24 bytes hold"));
  EXPECT_THAT(with(R"({"w":{"dtype":"F32","shape":[2,4],"data_offsets":[0,24]}})"), HasSubstr("does not fit"));
  EXPECT_THAT(with(R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[8,24]}})"), HasSubstr("hole"));
  EXPECT_THAT(with(R"({"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})"), HasSubstr("after the last tensor"));
  EXPECT_THAT(
      with(
          R"({"a":{"dtype":"F32","shape":[6],"data_offsets":[0,24]},"b":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}})"),
      HasSubstr("overlap"));
  EXPECT_THAT(with(R"({"w":{"dtype":"F32","shape":[9223372036854775807,4],"data_offsets":[0,24]}})"),
              HasSubstr("memory can hold"));
  EXPECT_THAT(with(R"({"w":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,24]}})"),
              HasSubstr("memory can hold"));
  EXPECT_THAT(with(R"({"w":{"dtype":"F32","shape":[-6],"data_offsets":[0,24]}})"), HasSubstr("near 'shape'"));
  EXPECT_THAT(with(R"({"w":{"dtype":"F8_E4M3","shape":[24],"data_offsets":[0,24]}})"),
              HasSubstr("F8_E4M3 is not supported"));
  EXPECT_THAT(
      with(
          R"({"w":{"dtype":"F32","shape":[6],"data_offsets":[0,24]},"w":{"dtype":"F32","shape":[0],"data_offsets":[24,24]}})"),
      HasSubstr("two tensors"));
}

TEST(Safetensors, OtherJsonIsRefused) {
  for (const char* header :
       {"{}", R"({"w":1})", R"({"w":{}})", R"({"w":{"dtype":"F32"}})", R"({"w":[1]})", R"({"w":{"dtype":{"a":{}}}})",
        R"({"w":{"dtype":"F32","shape":[[6]],"data_offsets":[0,24]}})",
        R"({"w":{"dtype":"F32","shape":[6.0],"data_offsets":[0,24]}})",
        R"({"w":{"dtype":"F32","dtype":"F32","shape":[6],"data_offsets":[0,24]}})",
        R"({"w":{"dtype":"F32","shape":[6],"shape":[6],"data_offsets":[0,24]}})", R"({"w":null})", R"({"w":)",
        R"({"__metadata__":{"a":[1]}})"})
    EXPECT_NE(other_cause(safetensors(header, kSixOfOther)), ": nothing was thrown") << header;
  std::string deep = R"({"w":{"dtype":)";
  for (int i = 0; i < 100'000; ++i) deep += "[";
  EXPECT_THAT(other_cause(safetensors(deep, kSixOfOther)), HasSubstr("near 'dtype'"));
}

}  // namespace
}  // namespace ferry
