#include <fcntl.h>
#include <fmt/format.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <limits>

#include "base/files.h"
#include "base/sha256.h"
#include "ferry/error.h"
#include "onnx/model_impl.h"

namespace ferry {
namespace {

namespace io = google::protobuf::io;

constexpr int kStreamBlock = 1 << 20;

[[noreturn]] void refuse_size(const std::string& name, std::size_t bytes) {
  throw Error(Stage::kOnnx, name,
              fmt::format("{} bytes are more than an ONNX file can hold (2 GiB, a limit of its container)", bytes),
              "Use FP16 weights, which take half the room.");
}

/// Protobuf's output into a file that is hashed on the way.
class HashingStream : public io::CopyingOutputStream {
 public:
  explicit HashingStream(AtomicFile& file) : file_(file) {}
  bool Write(const void* data, int size) override {
    hash_.update(data, static_cast<std::size_t>(size));
    file_.write(data, static_cast<std::size_t>(size));
    return true;
  }
  std::string hex() { return hash_.hex(); }

 private:
  AtomicFile& file_;
  Sha256 hash_;
};

class ReadOnlyFile {
 public:
  explicit ReadOnlyFile(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (fd_ < 0) throw Error(Stage::kOnnx, path, std::string("cannot read: ") + std::strerror(errno));
  }
  ReadOnlyFile(const ReadOnlyFile&) = delete;
  ReadOnlyFile& operator=(const ReadOnlyFile&) = delete;
  ~ReadOnlyFile() { ::close(fd_); }
  int fd() const noexcept { return fd_; }

 private:
  int fd_;
};

bool parse(io::ZeroCopyInputStream& stream, onnx::ModelProto& model) {
  io::CodedInputStream coded(&stream);
  coded.SetTotalBytesLimit(std::numeric_limits<int>::max());
  return model.ParseFromCodedStream(&coded) && coded.ConsumedEntireMessage();
}

[[noreturn]] void refuse_content(const std::string& name) {
  throw Error(Stage::kOnnx, name, "this is not an ONNX model, or it is damaged",
              "Export it again, or check that the copy is complete.");
}

std::unique_ptr<OnnxModel::Impl> accept(std::unique_ptr<OnnxModel::Impl> impl, const std::string& folder) {
  if (!impl->proto.has_graph() || impl->proto.graph().node_size() == 0) refuse_content(impl->name);
  normalise(impl->proto, impl->name, folder);
  check_model(impl->proto, impl->name);
  return impl;
}

}  // namespace

OnnxModel::OnnxModel(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
OnnxModel::OnnxModel(OnnxModel&&) noexcept = default;
OnnxModel& OnnxModel::operator=(OnnxModel&&) noexcept = default;
OnnxModel::~OnnxModel() = default;

OnnxModel OnnxModel::load(const std::string& path) {
  auto impl = std::make_unique<Impl>();
  impl->name = path;
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error) throw Error(Stage::kOnnx, path, "cannot read: " + error.message());
  if (size > std::numeric_limits<int>::max()) refuse_size(path, size);
  const ReadOnlyFile file(path);
  io::FileInputStream stream(file.fd(), kStreamBlock);
  if (!parse(stream, impl->proto)) refuse_content(path);
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  return OnnxModel(accept(std::move(impl), folder.empty() ? "." : folder.string()));
}

OnnxModel OnnxModel::from_bytes(const std::string& bytes, const std::string& name) {
  if (bytes.size() > std::numeric_limits<int>::max()) refuse_size(name, bytes.size());
  auto impl = std::make_unique<Impl>();
  impl->name = name;
  io::ArrayInputStream stream(bytes.data(), static_cast<int>(bytes.size()));
  if (!parse(stream, impl->proto)) refuse_content(name);
  return OnnxModel(accept(std::move(impl), {}));
}

OnnxModel OnnxModel::clone() const { return OnnxModel(std::make_unique<Impl>(*impl_)); }

void OnnxModel::check() const { check_model(impl_->proto, impl_->name); }

std::string OnnxModel::serialize() const {
  const std::size_t size = impl_->proto.ByteSizeLong();
  if (size > std::numeric_limits<int>::max()) refuse_size(impl_->name, size);
  std::string bytes;
  if (!impl_->proto.SerializeToString(&bytes)) throw Error(Stage::kOnnx, impl_->name, "cannot serialise the model");
  return bytes;
}

std::string OnnxModel::save(const std::string& path) const {
  const std::size_t size = impl_->proto.ByteSizeLong();
  if (size > std::numeric_limits<int>::max()) refuse_size(path, size);
  AtomicFile file(path, Stage::kOnnx);
  HashingStream hashing(file);
  {
    io::CopyingOutputStreamAdaptor stream(&hashing, kStreamBlock);
    if (!impl_->proto.SerializeToZeroCopyStream(&stream) || !stream.Flush())
      throw Error(Stage::kOnnx, path, "cannot serialise the model");
  }
  const std::string digest = hashing.hex();
  if (sha256_file(file.temporary_path(), Stage::kOnnx) != digest)
    throw Error(Stage::kOnnx, path, "what was read back is not what was written", "The disk may be failing.");
  file.commit();
  return digest;
}

}  // namespace ferry
