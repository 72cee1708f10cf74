#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>
#include <thread>

#include "engine/plan_pair.h"
#include "fixture.h"

namespace ferry {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class BuildEngine : public EngineFiles {};

TEST_F(BuildEngine, WritesAPlanAndWhatItIs) {
  const BuildOutcome outcome = build_engine(request(path("model.plan")));
  EXPECT_EQ(outcome.plan_path, path("model.plan"));
  EXPECT_FALSE(outcome.cache_hit);
  EXPECT_EQ(outcome.cache_reason, "no entry");
  const Sidecar s = read_sidecar(path("model.plan"));
  EXPECT_EQ(s.backend, "fake");
  EXPECT_EQ(s.sdk_version, "1.0.0");
  EXPECT_EQ(s.precision, "fp32");
  EXPECT_EQ(s.onnx_path, onnx_);
  EXPECT_EQ(s.plan_sha256, sha256_file(path("model.plan"), Stage::kOpen));
  EXPECT_EQ(s.onnx_sha256, sha256_file(onnx_, Stage::kOpen));
  EXPECT_EQ(s.profiles, default_profiles(std::nullopt));
  EXPECT_THAT(s.inputs, SizeIs(1));
  ASSERT_TRUE(s.probe);
  EXPECT_THAT(s.probe->expected, SizeIs(10));
  EXPECT_EQ(s.probe->referee, "the built engine itself");  // no other engine can judge the fake one
  EXPECT_FALSE(s.precision_proof_due);
  EXPECT_THAT(s.precision_proof_json, HasSubstr("Float"));
}

TEST_F(BuildEngine, TheSecondBuildIsAHitWithOrWithoutAPlace) {
  EXPECT_FALSE(build_engine(request()).cache_hit);
  const BuildOutcome again = build_engine(request());
  EXPECT_TRUE(again.cache_hit);
  EXPECT_EQ(again.cache_reason, "hit");
  const BuildOutcome placed = build_engine(request(path("model.plan")));  // a copy out of the cache
  EXPECT_TRUE(placed.cache_hit);
  EXPECT_EQ(slurp(path("model.plan")), slurp(again.plan_path));
  std::filesystem::remove_all(path("cache"));
  EXPECT_TRUE(build_engine(request(path("model.plan"))).cache_hit);  // the place itself is looked at, too
  EXPECT_FALSE(build_engine(request()).cache_hit);
}

TEST_F(BuildEngine, MissesSayWhatIsDifferent) {
  const auto reason = [&](const BuildRequest& r) {
    const BuildOutcome outcome = build_engine(r);
    EXPECT_FALSE(outcome.cache_hit);
    return outcome.cache_reason;
  };
  BuildRequest r = request(path("model.plan"));
  build_engine(r);
  r.options.profiles = {{1, 2, 4}};
  EXPECT_EQ(reason(r), "batch 1:8:32 is not 1:2:4");
  r.options.tf32 = true;
  EXPECT_EQ(reason(r), "the build options are others");
  r.force = true;
  EXPECT_EQ(reason(r), "forced");
  r.force = false;
  set("FERRY_FAKE_VERSION", "1.0.1");
  EXPECT_EQ(reason(r), "SDK 1.0.0 is not 1.0.1");
  set("FERRY_FAKE_GPU", "Fake 4060,8.9,580");
  EXPECT_EQ(reason(r), "it was built for compute capability , not 8.9");
  set("FERRY_FAKE_GPU", "Fake 4070,8.9,580");
  EXPECT_EQ(reason(r), "it was built on Fake 4060, not Fake 4070");
  export_tiny(onnx_, 2);
  EXPECT_EQ(reason(r), "the ONNX file is another one than it was built from");
  r.plan_path.clear();
  r.options.profiles = {{1, 1, 1}};
  EXPECT_EQ(reason(r), "batch 1:2:4 is not 1");  // explained by a neighbour in the cache
}

TEST_F(BuildEngine, ADamagedPairIsTreatedAsAbsentAndRebuilt) {
  const BuildRequest r = request();
  const std::string plan = build_engine(r).plan_path;
  std::ofstream(plan, std::ios::app) << "x";
  EXPECT_THAT(build_engine(r).cache_reason, HasSubstr("not the one its sidecar describes"));
  EXPECT_TRUE(build_engine(r).cache_hit);
  std::ofstream(sidecar_path(plan)) << "{";
  EXPECT_THAT(build_engine(r).cache_reason, HasSubstr("not a usable sidecar"));
  std::filesystem::remove(sidecar_path(plan));  // killed between the two renames of a first build
  EXPECT_THAT(build_engine(r).cache_reason, HasSubstr("no sidecar"));
  std::filesystem::remove(plan);
  EXPECT_FALSE(build_engine(r).cache_hit);
  EXPECT_TRUE(build_engine(r).cache_hit);
}

TEST_F(BuildEngine, KilledBetweenTheTwoRenamesOldAndNewDoNotMix) {
  const std::string plan = path("model.plan");
  const BuildOutcome old = build_engine(request(plan));
  const std::string old_text = slurp(sidecar_path(plan));
  BuildRequest r = request(plan);
  r.options.profiles = {{1, 2, 4}};
  build_engine(r);
  std::ofstream(sidecar_path(plan), std::ios::trunc) << old_text;  // the new plan beside the old sidecar
  EXPECT_THAT(error_of([&] { open_engine(plan); }).cause(), HasSubstr("SHA-256 differs"));
  EXPECT_FALSE(old.cache_hit);
  EXPECT_TRUE(build_engine(request(plan)).cache_hit);  // out of the cache, and whole again
  open_engine(plan);
}

TEST_F(BuildEngine, AHitCarriesThisRequestsNames) {
  build_engine(request());
  std::filesystem::copy_file(onnx_, path("copy.onnx"));
  BuildRequest r = request();
  r.onnx_path = path("copy.onnx");
  r.origin = "other.pth";
  const BuildOutcome hit = build_engine(r);
  EXPECT_TRUE(hit.cache_hit);
  EXPECT_EQ(read_sidecar(hit.plan_path).onnx_path, path("copy.onnx"));
  EXPECT_EQ(read_sidecar(hit.plan_path).origin, "other.pth");
  export_tiny(onnx_, 2);  // the first ONNX changes: no matter for the copy
  open_engine(hit.plan_path);
}

TEST_F(BuildEngine, EveryFailureNamesItsStageAndLeavesNothing) {
  const std::string plan = path("out/model.plan");
  std::filesystem::create_directories(path("out"));
  for (const std::string entry : {"describe", "supported", "build", "open", "io", "open_session", "submit", "wait"}) {
    set("FERRY_FAKE_FAIL", entry);
    const Error error = error_of([&] { build_engine(request(plan)); });
    EXPECT_THAT(std::string(error.what()), HasSubstr(entry)) << error.what();
    EXPECT_THAT(files(path("out")), IsEmpty()) << entry;
    EXPECT_THAT(files(path("cache")), IsEmpty()) << entry;
  }
  ::unsetenv("FERRY_FAKE_FAIL");
  for (const std::string mode : {"no_library", "empty_plan", "nan", "zeros"}) {
    set("FERRY_FAKE_MODE", mode);
    const Error error = error_of([&] { build_engine(request(plan)); });
    EXPECT_FALSE(error.cause().empty());
    EXPECT_THAT(files(path("out")), IsEmpty()) << mode;
    EXPECT_THAT(files(path("cache")), IsEmpty()) << mode;
  }
}

TEST_F(BuildEngine, AFailureLeavesTheOldPairAsItWas) {
  const std::string plan = path("model.plan");
  build_engine(request(plan));
  const std::string bytes = slurp(plan), text = slurp(sidecar_path(plan));
  BuildRequest r = request(plan);
  r.force = true;
  set("FERRY_FAKE_FAIL", "build");
  error_of([&] { build_engine(r); });
  set("FERRY_FAKE_FAIL", "submit");
  error_of([&] { build_engine(r); });
  EXPECT_EQ(slurp(plan), bytes);
  EXPECT_EQ(slurp(sidecar_path(plan)), text);
}

TEST_F(BuildEngine, AnEngineWithoutTheAskedPrecisionIsNotKept) {
  onnx_ = path("half.onnx");
  export_tiny(onnx_, 1, Precision::kFp16);
  EXPECT_EQ(build_engine(request(path("good.plan"))).sidecar.precision, "fp16");
  set("FERRY_FAKE_MODE", "float_engine");
  BuildRequest r = request(path("bad.plan"));
  r.force = true;
  const Error error = error_of([&] { build_engine(r); });
  EXPECT_EQ(error.stage(), Stage::kBuild);
  EXPECT_THAT(error.cause(), HasSubstr("the graph asks for fp16, but only 0 of"));
  EXPECT_FALSE(std::filesystem::exists(path("bad.plan")));
}

TEST_F(BuildEngine, AnAheadOfTimeBuildIsNotOpenedHere) {
  BuildRequest r = request(path("model.plan"));
  r.options.target = "8.9";
  set("FERRY_FAKE_FAIL", "open");  // would fail if it were
  const Sidecar s = build_engine(r).sidecar;
  EXPECT_EQ(s.compute_capability, "8.9");
  EXPECT_EQ(s.gpu, "");
  ASSERT_TRUE(s.probe);
  EXPECT_THAT(s.probe->expected, IsEmpty());
}

TEST_F(BuildEngine, CancellingLeavesNothing) {
  set("FERRY_FAKE_MODE", "slow_build");
  BuildRequest r = request(path("model.plan"));
  r.progress = [](const std::string&, std::int64_t done, std::int64_t) { return done < 2; };
  EXPECT_EQ(error_of([&] { build_engine(r); }).stage(), Stage::kInterrupted);
  EXPECT_FALSE(std::filesystem::exists(path("model.plan")));
  EXPECT_THAT(files(path("cache")), IsEmpty());
}

TEST_F(BuildEngine, APlaceThatCannotBeWrittenIsSaidBeforeTheBuild) {
  int steps = 0;
  BuildRequest r = request(path("no/such/folder/model.plan"));
  r.progress = [&](const std::string&, std::int64_t, std::int64_t) { return ++steps > 0; };
  const Error error = error_of([&] { build_engine(r); });
  EXPECT_EQ(error.stage(), Stage::kBuild);
  EXPECT_EQ(error.subject(), path("no/such/folder/model.plan"));
  EXPECT_EQ(steps, 0);
}

// A full disk, played by a limit on the size of files, in a process of its own.
TEST_F(BuildEngine, AFullDiskLeavesNothing) {
  std::filesystem::create_directories(path("out"));
  const auto first_failure = [&](rlim_t limit) {
    const pid_t child = ::fork();
    if (child == 0) {
      std::signal(SIGXFSZ, SIG_IGN);  // write() then fails with EFBIG
      const rlimit size{limit, limit};
      ::setrlimit(RLIMIT_FSIZE, &size);
      try {
        build_engine(request(path("out/model.plan")));
      } catch (const Error& error) {
        ::_exit(error.stage() == Stage::kBuild ? 1 : 2);
      }
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WEXITSTATUS(status);
  };
  EXPECT_EQ(first_failure(100), 1);  // in the plan
  EXPECT_THAT(files(path("out")), IsEmpty());
  EXPECT_THAT(files(path("cache")), IsEmpty());
  const Sidecar s = build_engine(request(path("size.plan"))).sidecar;
  const auto plan_size = std::filesystem::file_size(path("size.plan"));
  ASSERT_GT(to_json(s).size(), plan_size);
  std::filesystem::remove_all(path("cache"));
  EXPECT_EQ(first_failure(plan_size + 1), 1);  // in the sidecar
  EXPECT_THAT(files(path("out")), IsEmpty());
  EXPECT_THAT(files(path("cache")), IsEmpty());
}

TEST_F(BuildEngine, ThePairIsWrittenWholeOrNotAtAll) {
  Sidecar s;
  {
    PlanPair pair(path("a.plan"));
    pair.write_plan("bytes");
  }  // no commit
  EXPECT_FALSE(std::filesystem::exists(path("a.plan")));
  std::filesystem::create_directories(path("b.plan.json/in the way"));  // the sidecar cannot be renamed into place
  PlanPair pair(path("b.plan"));
  pair.write_plan("bytes");
  EXPECT_THROW(pair.commit(s), Error);
  EXPECT_FALSE(std::filesystem::exists(path("b.plan")));
}

TEST_F(BuildEngine, TwoProcessesBuildOneEngineOnce) {
  set("FERRY_FAKE_MODE", "slow_build");
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      ::_exit(build_engine(request()).cache_hit ? 2 : 0);
    } catch (...) {
      ::_exit(1);
    }
  }
  while (files(path("cache")).empty()) std::this_thread::sleep_for(std::chrono::milliseconds(5));  // it has begun
  BuildRequest r = request();
  std::vector<std::string> phases, lines;
  r.progress = [&](const std::string& phase, std::int64_t, std::int64_t) {
    phases.push_back(phase);
    return true;
  };
  r.log = [&](int, const std::string& line) { lines.push_back(line); };
  const BuildOutcome outcome = build_engine(r);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_TRUE(outcome.cache_hit);
  EXPECT_THAT(phases, testing::Contains(HasSubstr("waiting for another ferry")));
  EXPECT_THAT(lines, testing::Contains(HasSubstr("waiting for another ferry")));
}

TEST_F(BuildEngine, KeepsATimingCacheForEachSdkAndGpu) {
  build_engine(request());
  set("FERRY_FAKE_GPU", "Fake 4060,8.9,580");
  build_engine(request());
  int caches = 0;
  for (const auto& entry : std::filesystem::directory_iterator(path("cache/ferry/timing"))) {
    ++caches;
    EXPECT_THAT(slurp(entry.path().string()), HasSubstr("fake cache"));
  }
  EXPECT_EQ(caches, 2);
}

TEST_F(BuildEngine, AnUnknownBackendAndAMissingFileAreNamed) {
  BuildRequest r = request();
  r.backend = "nonsense";
  EXPECT_THAT(std::string(error_of([&] { build_engine(r); }).what()), HasSubstr("nonsense"));
  r = request();
  r.onnx_path = path("missing.onnx");
  EXPECT_EQ(error_of([&] { build_engine(r); }).subject(), path("missing.onnx"));
  std::ofstream(path("junk.onnx")) << "not a model";
  r.onnx_path = path("junk.onnx");
  EXPECT_EQ(error_of([&] { build_engine(r); }).subject(), path("junk.onnx"));
  EXPECT_THAT(files(path("cache")), IsEmpty());
}

}  // namespace
}  // namespace ferry
