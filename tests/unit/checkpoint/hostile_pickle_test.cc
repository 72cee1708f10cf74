// Pickles that ask for what they must not get, and tensors that lie about where they are.
#include <gmock/gmock.h>

#include "archives.h"
#include "fixtures.h"

namespace ferry {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::string kSixOfPickle(24, '\1');

Checkpoint open(const std::string& pickle) {
  return Checkpoint::from_bytes(torch_zip(pickle, {{"0", kSixOfPickle}}), "x.pth");
}

std::string pickle_cause(const std::string& pickle) {
  const Error error = error_of([&] { open(pickle); });
  EXPECT_EQ(error.stage(), Stage::kCheckpoint);
  EXPECT_THAT(error.subject(), testing::StartsWith("x.pth"));
  return error.subject() + ": " + error.cause();
}

std::string tensor_cause(std::int64_t count, std::int64_t offset, const std::vector<std::int64_t>& shape,
                         const std::vector<std::int64_t>& strides, const char* type = "FloatStorage") {
  return pickle_cause(Pickle().op("}").text("w").tensor(type, "0", count, offset, shape, strides).op("s").done());
}

TEST(HostilePickle, ForeignGlobalsAreNamedAndNothingRuns) {
  const std::string attack =
      Pickle().global("posix", "system").op("(").text("touch /tmp/ferry-was-here").op("tR").done();
  EXPECT_THAT(pickle_cause(attack), AllOf(HasSubstr("'posix.system'"), HasSubstr("nothing was executed")));
  for (const char* name : {"eval", "exec", "getattr", "__import__", "open"})
    EXPECT_THAT(pickle_cause(Pickle().global("builtins", name).op(")R").done()),
                HasSubstr(std::string("builtins.") + name));
  EXPECT_THAT(pickle_cause(Pickle(4).text("os").text("system").op("\x93)R").done()), HasSubstr("'os.system'"));
  // Names that begin or end like allowed ones.
  for (const auto& [module, name] :
       std::vector<std::pair<std::string, std::string>>{{"torch._utils", "_rebuild_tensor_v2.__globals__"},
                                                        {"torch", "load"},
                                                        {"torch.hub", "load"},
                                                        {"collections", "OrderedDict.fromkeys"},
                                                        {"torch", ""},
                                                        {"", ""},
                                                        {"torch.storage", "_load_from_bytes"}})
    EXPECT_THAT(pickle_cause(Pickle().global(module, name).op(")R").done()), HasSubstr("which tensors do not need"));
}

TEST(HostilePickle, HostileNamesAreShownSafely) {
  const std::string cause = pickle_cause(Pickle().global("evil\x1b[31m", std::string(5000, 'A')).op(")R").done());
  EXPECT_THAT(cause, HasSubstr("evil?[31m"));
  EXPECT_LT(cause.size(), 400u);
}

TEST(HostilePickle, OpcodesBeyondWhatTensorsNeedAreNamed) {
  for (const auto& [code, name] : std::vector<std::pair<std::string, std::string>>{{"i", "INST"},
                                                                                   {"o", "OBJ"},
                                                                                   {"P", "PERSID"},
                                                                                   {"\x82", "EXT1"},
                                                                                   {"\x92", "NEWOBJ_EX"},
                                                                                   {"\x97", "NEXT_BUFFER"},
                                                                                   {"I", "INT"},
                                                                                   {"\xff", "255"},
                                                                                   {"\x80", "PROTO"}})
    EXPECT_THAT(pickle_cause(Pickle().op(code).done()), HasSubstr("opcode " + name + " at byte 2"));
  EXPECT_THAT(pickle_cause(Pickle(6).op("}").done()), HasSubstr("protocol 6"));
  EXPECT_THAT(pickle_cause("(dp0\n."), HasSubstr("not a pickle of protocol 2 to 5"));
}

TEST(HostilePickle, TheStackCannotBeUnderrun) {
  for (const char* ops :
       {"0", "1", "2", "a", "e", "s", "u", "R", "b", "Q", "t", "\x85", "\x86", "\x93", "q\1", "(a", "](Ra", "(s"})
    EXPECT_THAT(pickle_cause(Pickle().op(ops).done()), testing::AnyOf(HasSubstr("not there"), HasSubstr("truncated")))
        << ops;
  EXPECT_THAT(pickle_cause(Pickle().op("").done()), HasSubstr("other than one value"));
  EXPECT_THAT(pickle_cause(Pickle().op("NN").done()), HasSubstr("other than one value"));
  EXPECT_THAT(pickle_cause(Pickle().op("(N").done()), HasSubstr("other than one value"));
  EXPECT_THAT(pickle_cause(Pickle().op("h\7").done()), HasSubstr("memo 7"));
}

TEST(HostilePickle, CallsAndAttributesOfPlainValuesAreRefused) {
  EXPECT_THAT(pickle_cause(Pickle().text("f").op(")R").done()), HasSubstr("calls text"));
  EXPECT_THAT(pickle_cause(Pickle().global("torch", "FloatStorage").op(")R").done()),
              HasSubstr("calls the element type"));
  EXPECT_THAT(pickle_cause(Pickle().text("f").op("}b").done()), HasSubstr("attributes of text"));
  EXPECT_THAT(pickle_cause(Pickle().number(1).op("Na").done()), HasSubstr("appends to an integer"));
  EXPECT_THAT(pickle_cause(Pickle().op("](NNNu").done()),
              testing::AnyOf(HasSubstr("without a value"), HasSubstr("items of")));
}

TEST(HostilePickle, SelfReferenceAndDepthAreBounded) {
  // d = {}; d["state_dict"] = d
  EXPECT_THAT(pickle_cause(Pickle()
                               .op("}q")
                               .op(std::string(1, '\0'))
                               .text("state_dict")
                               .op("h")
                               .op(std::string(1, '\0'))
                               .op("s")
                               .done()),
              HasSubstr("nested more than 64"));
  Pickle nested;
  for (int i = 0; i < 100; ++i) nested.op("}").text("model");
  nested.op("}");
  for (int i = 0; i < 100; ++i) nested.op("s");
  EXPECT_THAT(pickle_cause(nested.done()), HasSubstr("nested more than 64"));
  // A million lists inside each other, beside the tensors: destroyed without recursion.
  Pickle deep;
  deep.op("}").text("w").tensor("FloatStorage", "0", 6, 0, {6}, {1}).op("s").text("deep");
  deep.op(std::string(1'000'000, ']')).op(std::string(999'999, 'a')).op("s");
  EXPECT_EQ(open(deep.done()).tensors().size(), 1u);
}

TEST(HostilePickle, MemoAndCopyBombsAreBounded) {
  Pickle values;
  values.op(std::string(4'100'000, 'N'));
  EXPECT_THAT(pickle_cause(values.done()), HasSubstr("too many values"));
  // A long list of pairs, copied into a dictionary again and again.
  Pickle copies;
  copies.global("collections", "OrderedDict").op("q\1");
  copies.op("](").op("NN\x86q\2").op([] {
    std::string many;
    for (int i = 0; i < 100'000; ++i) many += "h\2";
    return many;
  }());
  copies.op("e\x85q\3");
  for (int i = 0; i < 1000; ++i) copies.op("h\1h\3R");
  EXPECT_THAT(pickle_cause(copies.done()), HasSubstr("too many values"));
}

TEST(HostilePickle, EveryTruncationIsAnError) {
  const std::string pickle = one_tensor();
  for (std::size_t size = 0; size < pickle.size(); ++size) EXPECT_THROW(open(pickle.substr(0, size)), Error) << size;
}

TEST(HostileTensor, StridesAndOffsetsStayInsideTheStorage) {
  EXPECT_THAT(tensor_cause(6, 1, {2, 3}, {3, 1}), HasSubstr("does not fit into its storage"));
  EXPECT_THAT(tensor_cause(6, 0, {2, 3}, {4, 1}), HasSubstr("does not fit"));
  EXPECT_THAT(tensor_cause(6, -1, {2, 3}, {3, 1}), HasSubstr("begins outside"));
  EXPECT_THAT(tensor_cause(6, 7, {0}, {1}), HasSubstr("begins outside"));
  EXPECT_THAT(tensor_cause(6, 0, {2, 3}, {-3, 1}), HasSubstr("negative stride"));
  EXPECT_THAT(tensor_cause(6, 0, {-2, 3}, {3, 1}), HasSubstr("negative dimension"));
  EXPECT_THAT(tensor_cause(6, 0, {2, 3}, {3}), HasSubstr("2 dimensions and 1 strides"));
  EXPECT_THAT(tensor_cause(7, 0, {7}, {1}), HasSubstr("claims 7 elements"));
  EXPECT_THAT(tensor_cause(-1, 0, {0}, {1}), HasSubstr("negative size"));
  EXPECT_THAT(tensor_cause(5, 0, {6}, {1}), HasSubstr("does not fit"));  // inside the entry, outside what it claims
  EXPECT_THAT(tensor_cause(6, 0, {4}, {1}, "DoubleStorage"), HasSubstr("claims 6 elements of 8 bytes"));
}

TEST(HostileTensor, OverflowsAreRefused) {
  const std::int64_t big = std::int64_t{1} << 62;
  EXPECT_THAT(tensor_cause(6, 0, {big, 4}, {0, 0}), HasSubstr("memory can hold"));
  EXPECT_THAT(tensor_cause(6, 0, {big, big, 0}, {0, 0, 0}), HasSubstr("memory can hold"));
  EXPECT_THAT(tensor_cause(6, 0, {3, 2}, {big, big}), HasSubstr("overflow"));
  EXPECT_THAT(tensor_cause(6, INT64_MAX, {2}, {1}), HasSubstr("begins outside"));
  EXPECT_THAT(tensor_cause(INT64_MAX, 0, {6}, {1}), HasSubstr("claims"));
  EXPECT_THAT(tensor_cause(6, 0, std::vector<std::int64_t>(17, 1), std::vector<std::int64_t>(17, 1)),
              HasSubstr("more than 16 dimensions"));
}

TEST(HostileTensor, AFewBytesAreNotBroadcastIntoTerabytes) {
  EXPECT_THAT(tensor_cause(6, 0, {1'000'000, 1'000'000}, {0, 0}), HasSubstr("expand to more than"));
  Pickle views;
  views.op("}");
  for (int i = 0; i < 1000; ++i)
    views.text("w" + std::to_string(i)).tensor("FloatStorage", "0", 6, 0, {1000, 1000}, {0, 0}).op("s");
  EXPECT_THAT(pickle_cause(views.done()), HasSubstr("expand to more than"));
}

TEST(HostileTensor, UnsupportedTypesAndDuplicatesAreNamed) {
  EXPECT_THAT(tensor_cause(6, 0, {6}, {1}, "ComplexFloatStorage"), HasSubstr("w: the tensor's element type complex64"));
  Pickle twice;
  twice.op("}");
  for (int i = 0; i < 2; ++i) twice.text("w").tensor("FloatStorage", "0", 6, 0, {6}, {1}).op("s");
  EXPECT_THAT(pickle_cause(twice.done()), HasSubstr("w: two tensors have this name"));
  CheckpointLimits limits;
  limits.max_tensors = 1;
  EXPECT_THAT(error_of([&] {
                Checkpoint::from_bytes(torch_zip(twice.done(), {{"0", kSixOfPickle}}), "x", limits);
              }).cause(),
              HasSubstr("more than 1"));
}

TEST(StateDict, IsFoundUnderTheUsualNames) {
  for (const char* key : {"state_dict", "model_state_dict", "model"}) {
    Pickle pickle;
    pickle.op("}").text("epoch").number(3).op("s").text(key).op("}");
    for (const char* prefix : {"module.", "module._orig_mod.", "model.module."}) {
      Pickle inner = pickle;
      inner.text(std::string(prefix) + "fc.weight").tensor("FloatStorage", "0", 6, 0, {2, 3}, {3, 1}).op("ss");
      const Checkpoint checkpoint = open(inner.done());
      ASSERT_EQ(checkpoint.tensors().size(), 1u);
      EXPECT_EQ(checkpoint.tensors()[0].name, "fc.weight");
      EXPECT_EQ(checkpoint.notes()[0], std::string("took the entry '") + key + "'");
      EXPECT_EQ(checkpoint.notes()[1], "left out 'epoch'");
    }
  }
}

TEST(StateDict, KeepsAPrefixThatNotEveryTensorHas) {
  Pickle pickle;
  pickle.op("}").text("module.a").tensor("FloatStorage", "0", 6, 0, {6}, {1}).op("s");
  pickle.text("b").tensor("FloatStorage", "0", 6, 0, {6}, {1}).op("s");
  EXPECT_NE(open(pickle.done()).find("module.a"), nullptr);
}

TEST(StateDict, ThingsThatAreNoneAreNamed) {
  EXPECT_THAT(pickle_cause(Pickle().op("]").done()), HasSubstr("holds a list"));
  EXPECT_THAT(pickle_cause(Pickle().tensor("FloatStorage", "0", 6, 0, {6}, {1}).done()), HasSubstr("holds a tensor"));
  EXPECT_THAT(pickle_cause(Pickle().op("}").text("epoch").number(3).op("s").done()), HasSubstr("no tensors"));
}

}  // namespace
}  // namespace ferry
