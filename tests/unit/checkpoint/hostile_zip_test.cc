// Archives that lie. Every one of them must end in one clear Error.
#include <gmock/gmock.h>

#include <fstream>

#include "archives.h"
#include "fixtures.h"

namespace ferry {
namespace {

using testing::HasSubstr;

std::string zip_cause(const std::string& bytes, const CheckpointLimits& limits = {}) {
  const Error error = error_of([&] { Checkpoint::from_bytes(bytes, "x.pth", limits); });
  EXPECT_EQ(error.stage(), Stage::kCheckpoint);
  EXPECT_THAT(error.subject(), testing::StartsWith("x.pth"));
  return error.subject() + ": " + error.cause();
}

const std::string kSixOfZip(24, '\1');

TEST(ZipTest, ReadsStoredDeflatedAndZip64) {
  for (bool deflate : {false, true})
    for (bool zip64 : {false, true}) {
      ZipMaker maker;
      maker.zip64 = zip64;
      const std::string file = torch_zip(one_tensor(), {{"0", kSixOfZip, deflate}}, maker);
      const Checkpoint checkpoint = Checkpoint::from_bytes(file, "x.pth");
      ASSERT_EQ(checkpoint.tensors().size(), 1u);
      EXPECT_EQ(checkpoint.load(checkpoint.tensors()[0]).data()[23], std::byte{1});
    }
}

TEST(ZipTest, ReadsAnArchiveWithAComment) {
  std::string file = torch_zip(one_tensor(), {{"0", kSixOfZip}});
  file.replace(file.size() - 2, 2, le(5, 2) + "hello");
  EXPECT_NO_THROW(Checkpoint::from_bytes(file, "x.pth"));
}

TEST(HostileZip, EveryTruncationIsAnError) {
  ZipMaker maker;
  maker.zip64 = true;
  for (const std::string& file :
       {torch_zip(one_tensor(), {{"0", kSixOfZip}}), torch_zip(one_tensor(), {{"0", kSixOfZip, true}}),
        torch_zip(one_tensor(), {{"0", kSixOfZip}}, maker)})
    for (std::size_t size = 0; size < file.size(); ++size)
      EXPECT_THROW(Checkpoint::from_bytes(file.substr(0, size), "x.pth"), Error) << size;
}

// Any one byte changed: an Error or a checkpoint, never anything else (the sanitizer job watches).
TEST(HostileZip, EveryChangedByteIsSurvived) {
  for (const std::string& good :
       {torch_zip(one_tensor(), {{"0", kSixOfZip}}), torch_zip(one_tensor(), {{"0", kSixOfZip, true}})}) {
    int read = 0, refused = 0;
    for (std::size_t at = 0; at < good.size(); ++at)
      for (int bit = 0; bit < 8; ++bit) {
        std::string file = good;
        file[at] = static_cast<char>(file[at] ^ (1 << bit));
        try {
          const Checkpoint checkpoint = Checkpoint::from_bytes(file, "x.pth");
          for (const CheckpointTensor& tensor : checkpoint.tensors()) checkpoint.load(tensor);
          ++read;
        } catch (const Error&) {
          ++refused;
        }
      }
    EXPECT_GT(read, 0);  // time stamps, contents of storages
    EXPECT_GT(refused, read);
  }
}

TEST(HostileZip, LyingSizesAreRefused) {
  ZipMaker larger;
  larger.size_offset = 8;
  EXPECT_THAT(zip_cause(torch_zip(one_tensor(), {{"0", kSixOfZip}}, larger)), HasSubstr("two sizes"));
  ZipMaker outside;
  outside.header_offset = 1 << 20;
  EXPECT_THAT(zip_cause(torch_zip(one_tensor(), {{"0", kSixOfZip}}, outside)), HasSubstr("outside the file"));
  outside.zip64 = true;
  outside.header_offset = ~std::uint64_t{0} - 100;
  EXPECT_THAT(zip_cause(torch_zip(one_tensor(), {{"0", kSixOfZip}}, outside)), HasSubstr("outside the file"));
  ZipMaker many;
  many.entry_count = 3;
  EXPECT_THAT(zip_cause(torch_zip(one_tensor(), {{"0", kSixOfZip}}, many)), HasSubstr("directory"));
  many.zip64 = true;
  many.entry_count = std::uint64_t{1} << 60;
  EXPECT_THAT(zip_cause(torch_zip(one_tensor(), {{"0", kSixOfZip}}, many)),
              HasSubstr("claims 1152921504606846978 entries"));
}

TEST(HostileZip, AStorageSmallerThanItsTensorIsRefused) {
  EXPECT_THAT(zip_cause(torch_zip(one_tensor(), {{"0", kSixOfZip.substr(1)}})),
              HasSubstr("claims 6 elements of 4 bytes"));
  EXPECT_THAT(zip_cause(torch_zip(one_tensor())), HasSubstr("no storage '0'"));
}

TEST(HostileZip, OverlappingAndDuplicateEntriesAreRefused) {
  EXPECT_THAT(zip_cause(torch_zip(one_tensor(), {{"0", kSixOfZip}, {"0", kSixOfZip}})), HasSubstr("two entries"));
  // The second entry's header points at the first one's: both claim the same bytes.
  std::string file = torch_zip(one_tensor(), {{"0", kSixOfZip}});
  const std::size_t second = file.rfind("PK\x01\x02");
  file.replace(second + 42, 4, le(0, 4));
  EXPECT_THAT(zip_cause(file), HasSubstr("overlaps"));
}

TEST(HostileZip, BombsAreRefusedBeforeTheyExpand) {
  // Honest sizes, 1000 to 1, over the limit.
  CheckpointLimits limits;
  limits.max_bytes = 1 << 20;
  EXPECT_THAT(zip_cause(torch_zip(one_tensor(), {{"0", std::string(1 << 21, '\0'), true}}), limits),
              HasSubstr("expands to more than the limit"));
  // A claim that deflate cannot keep.
  ZipMaker liar;
  liar.size_offset = 1'000'000'000;
  EXPECT_THAT(zip_cause(liar.make({{"a/data.pkl", one_tensor(), true}})), HasSubstr("deflate cannot do"));
  // A claim smaller than what comes out.
  ZipMaker smaller;
  smaller.size_offset = ~std::uint64_t{0};  // one byte less
  EXPECT_THAT(zip_cause(smaller.make({{"a/data.pkl", one_tensor(), true}})), HasSubstr("size is not what"));
}

TEST(HostileZip, DamagedPicklesAndCompressedStoragesAreFoundByTheirChecksum) {
  std::string file = torch_zip(one_tensor(), {{"0", kSixOfZip}});
  file[file.find("FloatStorage")] = 'f';
  EXPECT_THAT(zip_cause(file), HasSubstr("a/data.pkl: the checksum does not match"));
}

TEST(HostileZip, DamagedTensorsAreFoundByVerify) {
  std::string file = torch_zip(one_tensor(), {{"0", kSixOfZip}});
  EXPECT_EQ(Checkpoint::from_bytes(file, "x.pth").verify(), 2u);
  file[file.find(kSixOfZip) + 7] = '\2';
  const Checkpoint checkpoint = Checkpoint::from_bytes(file, "x.pth");  // not read on open: that is what makes it quick
  EXPECT_THAT(error_of([&] { checkpoint.verify(); }).subject(), HasSubstr("a/data/0"));
}

TEST(HostileZip, EncryptedSplitAndForeignMethodsAreRefused) {
  std::string file = torch_zip(one_tensor(), {{"0", kSixOfZip}});
  const std::size_t directory = file.find("PK\x01\x02");
  std::string encrypted = file, method = file, split = file;
  encrypted[directory + 8] = 1;
  EXPECT_THAT(zip_cause(encrypted), HasSubstr("encrypted"));
  method[directory + 10] = 12;
  EXPECT_THAT(zip_cause(method), HasSubstr("compression method 12"));
  split[split.size() - 18] = 1;
  EXPECT_THAT(zip_cause(split), HasSubstr("split over several files"));
}

TEST(HostileZip, OtherArchivesAreNamed) {
  EXPECT_THAT(zip_cause(ZipMaker().make({{"word/document.xml", "x"}})), HasSubstr("without a data.pkl"));
  EXPECT_THAT(zip_cause(ZipMaker().make({{"a/data.pkl", one_tensor()}, {"a/byteorder", "big"}})),
              HasSubstr("not little-endian"));
}

TEST(NotACheckpoint, UsualAccidentsAreNamed) {
  EXPECT_THAT(zip_cause(""), HasSubstr("empty"));
  EXPECT_THAT(zip_cause("version https://git-lfs.github.com/spec/v1\n"), HasSubstr("Git LFS pointer"));
  EXPECT_THAT(zip_cause("<!DOCTYPE html><title>404</title>"), HasSubstr("web page"));
  EXPECT_THAT(zip_cause("\x80\x04K\x01."), HasSubstr("not one that torch.save wrote"));
  std::string tar(512, '\0');
  tar.replace(257, 5, "ustar");
  EXPECT_THAT(zip_cause(tar), HasSubstr("tar archive"));
  EXPECT_THAT(zip_cause("hello"), HasSubstr("neither"));
  const Error missing = error_of([] { Checkpoint::open("/no/such/file.pth"); });
  EXPECT_THAT(missing.cause(), HasSubstr("No such file"));
  EXPECT_EQ(missing.subject(), "/no/such/file.pth");
  EXPECT_THAT(error_of([] { Checkpoint::open("/tmp"); }).cause(), HasSubstr("directory"));
}

}  // namespace
}  // namespace ferry
