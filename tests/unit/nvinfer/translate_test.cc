// The SDK's misleading messages, as it really writes them, and what they are turned into.
#include "nvinfer/translate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ferry::nvinfer {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

Failure translated(const std::vector<std::string>& lines, const std::string& driver_reason = "") {
  return translate({"TensorRT 10.6.0.26", "build the engine", lines, driver_reason, "4.0 GiB"});
}

TEST(Translate, NoImplementationAfterOutOfMemoryIsOutOfMemory) {
  const Failure failure = translated(
      {"[defaultAllocator.cpp::allocate::31] Error Code 1: Cuda Runtime (out of memory)",
       "Skipping tactic 3 due to insufficient memory on requested size of 2147483648 detected for tactic 0x3.",
       "[optimizer.cpp::computeCosts::4208] Error Code 10: Internal Error (Could not find any implementation for node "
       "{ForeignNode[layer1.0.conv1...fc]}.)"});
  EXPECT_THAT(failure.cause, AllOf(HasSubstr("not enough GPU memory"), HasSubstr("ran out of memory while trying")));
  EXPECT_THAT(failure.hint, AllOf(HasSubstr("nvidia-smi"), HasSubstr("4.0 GiB")));
  EXPECT_EQ(failure.subject, "ForeignNode[layer1.0.conv1...fc]");
}

TEST(Translate, NoImplementationAloneNamesNodeAndWorkspace) {
  const Failure failure = translated(
      {"IBuilder::buildSerializedNetwork: Error Code 10: Internal Error (Could not find any implementation for node "
       "layer4.2.conv3 + add.)"});
  EXPECT_EQ(failure.subject, "layer4.2.conv3 + add");
  EXPECT_THAT(failure.cause, AllOf(HasSubstr("no kernel for this node"), HasSubstr("4.0 GiB")));
}

TEST(Translate, AnOldDriverIsNamedHoweverTheSdkPutsIt) {
  for (const char* line : {"[checkMacros.cpp::catchCudaError::212] Error Code 1: Cuda Runtime (CUDA driver version is "
                           "insufficient for CUDA runtime version)",
                           "CUDA initialization failure with error: 35. Please check your CUDA installation.",
                           "[safeContext.cpp] cudaErrorInsufficientDriver"}) {
    const Failure failure = translated({line});
    EXPECT_THAT(failure.cause, HasSubstr("driver is too old for TensorRT 10.6.0.26")) << line;
    EXPECT_EQ(failure.status, FERRY_UNSUPPORTED);
    EXPECT_THAT(failure.hint, HasSubstr("nvidia-smi"));
  }
}

TEST(Translate, ANullBuilderWithoutAWordIsTheMissingDriver) {
  const Failure failure = translated({}, "no NVIDIA driver: libcuda.so.1: cannot open shared object file");
  EXPECT_THAT(failure.cause, AllOf(HasSubstr("no usable NVIDIA driver"), HasSubstr("libcuda.so.1")));
}

TEST(Translate, ADriverProblemIsNotMistakenForMemory) {
  EXPECT_THAT(translated({"CUDA initialization failure with error: 35", "out of memory"}).cause, HasSubstr("driver"));
}

TEST(Translate, APlanOfAnotherVersion) {
  for (const char* line :
       {"IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Serialization assertion "
        "stdVersionRead == kSERIALIZATION_VERSION failed.Version tag does not match. Note: Current Version: 239, "
        "Serialized Engine Version: 236)",
        "The engine plan file is not compatible with this version of TensorRT, expecting library version 10.6.0.26 got "
        "10.5.0.18",
        "Serialization assertion plan->header.magicTag == rt::kPLAN_MAGIC_TAG failed."}) {
    const Failure failure = translated({line});
    EXPECT_THAT(failure.cause, HasSubstr("another version than TensorRT 10.6.0.26")) << line;
    EXPECT_THAT(failure.hint, HasSubstr("ferry build"));
  }
}

TEST(Translate, APlanOfAnotherGpu) {
  for (const char* line :
       {"The engine plan file is generated on an incompatible device, expecting compute 8.9 got compute 9.0, "
        "please rebuild.",
        "The engine cannot run on this GPU, which has compute capability 9.0."}) {
    EXPECT_THAT(translated({line}).cause, HasSubstr("built for another GPU")) << line;
  }
}

TEST(Translate, AGpuWithoutKernels) {
  const Failure failure =
      translated({"Error Code 1: Cuda Runtime (no kernel image is available for execution on the device)"});
  EXPECT_THAT(failure.cause, HasSubstr("does not support this GPU"));
  EXPECT_EQ(failure.status, FERRY_UNSUPPORTED);
}

TEST(Translate, AnSdkWithoutItsBuilderResource) {
  const Failure failure = translated({"Unable to load library: libnvinfer_builder_resource.so.10.6.0"});
  EXPECT_THAT(failure.hint, HasSubstr("LD_LIBRARY_PATH"));
}

TEST(Translate, ALostContext) {
  EXPECT_THAT(translated({"Error Code 1: Cuda Runtime (an illegal memory access was encountered)"}).hint,
              HasSubstr("restart"));
}

TEST(Translate, AnythingElseKeepsTheFirstErrorInItsOwnWords) {
  const Failure failure = translated({"Using default for use_input_stats",
                                      "[a.cpp::b::12] Error Code 4: API Usage Error (input: bad dims.)",
                                      "[c.cpp::d::1] Error Code 2: Internal Error (echo)"});
  EXPECT_THAT(failure.cause, AllOf(HasSubstr("could not build the engine: "), HasSubstr("input: bad dims"),
                                   Not(HasSubstr("a.cpp")), Not(HasSubstr("echo"))));
  EXPECT_THAT(translated({}).cause, HasSubstr("gave no reason"));
}

TEST(Translate, AVeryLongLineIsNoProblem) {
  const Failure failure = translated({"error for node " + std::string(1 << 20, 'x')});
  EXPECT_LT(failure.cause.size(), 3000u);
}

}  // namespace
}  // namespace ferry::nvinfer
