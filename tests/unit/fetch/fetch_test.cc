#include "ferry/fetch.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include "base/files.h"
#include "ferry/error.h"
#include "ferry/resnet.h"
#include "server.h"

namespace ferry {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
namespace fs = std::filesystem;

TEST(Published, EveryArchitectureHasWeights) {
  std::set<std::string> files;
  for (const PublishedWeights& weights : published_weights()) {
    EXPECT_NO_THROW(architecture_named(weights.network));
    EXPECT_TRUE(files.insert(weights.file).second);
    EXPECT_EQ(weights.file, weights.network + "-" + weights.sha256_start() + ".pth");
    EXPECT_EQ(weights.sha256_start().size(), 8u);
    EXPECT_EQ(weights.sha256_start().find_first_not_of("0123456789abcdef"), std::string::npos);
    // Size, from the parameters: float32, but for wide_resnet*_2 V1, which were published in float16.
    const double bytes = static_cast<double>(architecture_named(weights.network).parameters()) *
                         (weights.network.starts_with("wide") && weights.set == "IMAGENET1K_V1" ? 2 : 4);
    EXPECT_NEAR(weights.mebibytes, bytes / (1 << 20), 0.01 * weights.mebibytes) << weights.file;
  }
  for (const std::string& name : architecture_names()) EXPECT_NE(find_published(name), nullptr) << name;
  EXPECT_EQ(files.size(), 17u);
}

TEST(Published, NamesGiveTheSetThatTorchvisionUsesByDefault) {
  EXPECT_EQ(find_published("resnet101")->file, "resnet101-cd907fc2.pth");
  EXPECT_EQ(find_published("resnet101:v1")->file, "resnet101-63fe2227.pth");
  EXPECT_EQ(find_published("resnet101:IMAGENET1K_V2")->file, "resnet101-cd907fc2.pth");
  EXPECT_EQ(find_published("resnet18")->set, "IMAGENET1K_V1");
  EXPECT_EQ(find_published("resnet50-0676ba61.pth")->set, "IMAGENET1K_V1");
  for (const char* name : {"", "resnet99", "resnet18:v2", "resnet101:v3", "resnet101:", "resnet101.pth", "./resnet101"})
    EXPECT_EQ(find_published(name), nullptr) << name;
}

class Fetch : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("ferry-fetch-" + std::to_string(::getpid()));
    fs::create_directories(folder_);
    ::setenv("TORCH_HOME", (folder_ / "torch").c_str(), 1);
    ::setenv("no_proxy", "127.0.0.1", 1);
    for (int i = 0; i < 300'000; ++i) content_ += static_cast<char>(i * 31 + i / 256);
    weights_ = *find_published("resnet18");
    weights_.file = "resnet18-" + sha256(content_).substr(0, 8) + ".pth";
    options_.folder = (folder_ / "weights").string();
    server_.content = content_;
    options_.base_url = server_.url();
  }
  void TearDown() override { fs::remove_all(folder_); }

  Fetched fetch() {
    server_.start();
    return fetch_weights(weights_, options_);
  }
  Error failure() {
    try {
      fetch();
    } catch (const Error& error) {
      return error;
    }
    return Error(Stage::kUsage, "", "nothing was thrown");
  }
  std::string target() const { return options_.folder + "/" + weights_.file; }
  std::string part() const { return target() + ".part"; }
  void write(const std::string& path, const std::string& bytes) {
    fs::create_directories(fs::path(path).parent_path());
    std::ofstream(path, std::ios::binary) << bytes;
  }
  std::string get(const std::string& suffix = "") const { return "GET /models/" + weights_.file + suffix; }

  fs::path folder_;
  std::string content_;
  PublishedWeights weights_;
  FetchOptions options_;
  Server server_;
};

TEST_F(Fetch, DownloadsChecksAndKeeps) {
  std::int64_t last = 0, total = 0;
  options_.progress = [&](std::int64_t done, std::int64_t all) {
    EXPECT_GE(done, last);
    last = done;
    total = all;
    return true;
  };
  const Fetched fetched = fetch();
  EXPECT_EQ(fetched.path, target());
  EXPECT_TRUE(fetched.downloaded);
  EXPECT_EQ(fetched.bytes, 300'000);
  EXPECT_EQ(read_file(target(), Stage::kFetch), content_);
  EXPECT_FALSE(fs::exists(part()));
  EXPECT_EQ(last, 300'000);
  EXPECT_EQ(total, 300'000);
  EXPECT_FALSE(fetch_weights(weights_, options_).downloaded);  // the second time it is there
  EXPECT_THAT(server_.requests(), ElementsAre(get()));
}

TEST_F(Fetch, ContinuesWhereAnEarlierDownloadStopped) {
  write(part(), content_.substr(0, 123'456));
  fetch();
  EXPECT_EQ(read_file(target(), Stage::kFetch), content_);
  EXPECT_THAT(server_.requests(), ElementsAre(get(" from 123456")));
}

TEST_F(Fetch, ContinuesWhenTheConnectionIsCut) {
  server_.cut_after = 100'000;
  fetch();
  EXPECT_EQ(read_file(target(), Stage::kFetch), content_);
  EXPECT_THAT(server_.requests(), ElementsAre(get(), get(" from 100000"), get(" from 200000")));
}

TEST_F(Fetch, KeepsThePartWhenTheConnectionIsCutForGood) {
  server_.cut_after = 1000;
  const Error error = failure();
  EXPECT_EQ(error.stage(), Stage::kFetch);
  EXPECT_THAT(error.cause(), HasSubstr("ended after 5000 of 300000 bytes"));
  EXPECT_THAT(error.hint(), HasSubstr("continues"));
  EXPECT_EQ(fs::file_size(part()), 5000u);
  EXPECT_FALSE(fs::exists(target()));
}

TEST_F(Fetch, ACompletePartNeedsNoDownload) {
  write(part(), content_);
  fetch();
  EXPECT_TRUE(fs::exists(target()));
  EXPECT_THAT(server_.requests(), testing::IsEmpty());
}

TEST_F(Fetch, APartOfAnotherFileIsDownloadedAgain) {
  write(part(), std::string(1000, 'x'));
  fetch();
  EXPECT_EQ(read_file(target(), Stage::kFetch), content_);
  EXPECT_THAT(server_.requests(), ElementsAre(get(" from 1000"), get()));
}

TEST_F(Fetch, APartThatIsTooLongIsDownloadedAgain) {
  write(part(), content_ + "more");
  fetch();
  EXPECT_EQ(read_file(target(), Stage::kFetch), content_);
}

TEST_F(Fetch, AServerWithoutRangesStartsFromTheBeginning) {
  server_.ranges = false;
  write(part(), content_.substr(0, 1000));
  fetch();
  EXPECT_EQ(read_file(target(), Stage::kFetch), content_);
}

TEST_F(Fetch, AWrongHashIsRefusedAndNothingStays) {
  server_.content[5] ^= 1;
  const Error error = failure();
  EXPECT_THAT(error.cause(), testing::AllOf(HasSubstr("SHA-256"), HasSubstr(weights_.sha256_start())));
  EXPECT_TRUE(fs::is_empty(options_.folder));
}

TEST_F(Fetch, AMissingFileIsSaidSoAndItsErrorPageIsNotKept) {
  server_.status = 404;
  const Error error = failure();
  EXPECT_THAT(error.cause(), HasSubstr("answered 404"));
  EXPECT_THAT(error.hint(), testing::AllOf(HasSubstr("not published there"), HasSubstr(target())));
  EXPECT_EQ(fs::file_size(part()), 0u);
}

TEST_F(Fetch, FollowsARedirectWithoutKeepingItsPage) {
  server_.redirect = "/elsewhere/file";
  fetch();
  EXPECT_EQ(read_file(target(), Stage::kFetch), content_);
}

TEST_F(Fetch, NoNetworkIsOneClearLine) {
  options_.base_url = "http://127.0.0.1:1/";  // nothing listens there
  const Error error = failure();
  EXPECT_THAT(error.cause(), HasSubstr("no network"));
  EXPECT_EQ(error.cause().find('\n'), std::string::npos);
  EXPECT_THAT(error.hint(), testing::AllOf(HasSubstr("copy it to " + target()), HasSubstr("--random-weights")));
}

TEST_F(Fetch, StopsWhenToldAndContinuesLater) {
  options_.progress = [](std::int64_t done, std::int64_t) { return done == 0; };
  const Error error = failure();
  EXPECT_EQ(error.stage(), Stage::kInterrupted);
  EXPECT_FALSE(fs::exists(target()));
  options_.progress = nullptr;
  EXPECT_TRUE(fetch_weights(weights_, options_).downloaded);
  EXPECT_EQ(read_file(target(), Stage::kFetch), content_);
}

TEST_F(Fetch, AServerThatFallsSilentIsGivenUp) {
  server_.stalls = true;
  options_.stall_seconds = 1;
  EXPECT_THAT(failure().cause(), HasSubstr("ended after 0"));
}

TEST_F(Fetch, UsesTheFileThatTorchHubHasAndLeavesItAlone) {
  const std::string hub = (folder_ / "torch/hub/checkpoints" / weights_.file).string();
  write(hub, content_);
  EXPECT_EQ(fetch().path, hub);
  EXPECT_THAT(server_.requests(), testing::IsEmpty());
  EXPECT_FALSE(fs::exists(target()));
}

TEST_F(Fetch, AFileOfTheRightNameAndWrongContentIsReplaced) {
  write(target(), "not the weights");
  EXPECT_EQ(find_weights(weights_, options_), std::nullopt);
  fetch();
  EXPECT_EQ(read_file(target(), Stage::kFetch), content_);
}

TEST_F(Fetch, TwoDownloadsOfOneFileDoNotMix) {
  server_.stalls = true;
  server_.start();
  options_.progress = [&](std::int64_t, std::int64_t) {  // while the first one waits, a second one begins
    FetchOptions second = options_;
    second.progress = nullptr;
    try {
      fetch_weights(weights_, second);
      ADD_FAILURE() << "both downloaded";
    } catch (const Error& error) {
      EXPECT_THAT(error.cause(), HasSubstr("another process"));
    }
    return false;
  };
  EXPECT_THROW(fetch_weights(weights_, options_), Error);
}

TEST_F(Fetch, AFolderThatCannotBeMadeIsNamed) {
  write((folder_ / "file").string(), "x");
  options_.folder = (folder_ / "file" / "below").string();
  EXPECT_THAT(failure().cause(), HasSubstr("cannot create"));
}

}  // namespace
}  // namespace ferry
