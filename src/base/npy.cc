// .npy files; format: numpy.lib.format, versions 1.0 to 3.0.
#include <cctype>
#include <cstring>
#include <string_view>

#include "base/files.h"
#include "ferry/error.h"
#include "ferry/tensor.h"

namespace ferry {
namespace {

struct NpyType {
  const char* descr;
  DType dtype;
};
constexpr NpyType kTypes[] = {{"<f4", DType::kFloat32}, {"<f2", DType::kFloat16}, {"<f8", DType::kFloat64},
                              {"|u1", DType::kUInt8},   {"|i1", DType::kInt8},    {"<i4", DType::kInt32},
                              {"<i8", DType::kInt64},   {"|b1", DType::kBool}};

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
  throw Error(Stage::kRun, path, why, "Write it with numpy.save from a C-ordered little-endian array.");
}

// The value of one key of the header's Python dictionary, as text: '<f4', False, (1, 3, 224, 224).
std::string_view value_of(std::string_view header, std::string_view key, const std::string& path) {
  const std::string quoted = "'" + std::string(key) + "'";
  std::size_t at = header.find(quoted);
  if (at == std::string_view::npos) refuse(path, "the .npy header has no " + quoted);
  at = header.find(':', at);
  if (at == std::string_view::npos) refuse(path, "the .npy header is malformed");
  header.remove_prefix(at + 1);
  while (!header.empty() && header.front() == ' ') header.remove_prefix(1);
  if (header.empty()) refuse(path, "the .npy header is malformed");
  std::size_t end;
  if (header.front() == '(') {
    end = header.find(')');
    if (end != std::string_view::npos) ++end;
  } else {
    end = header.find_first_of(",}");
  }
  if (end == std::string_view::npos) refuse(path, "the .npy header is malformed");
  return header.substr(0, end);
}

Shape parse_shape(std::string_view text, const std::string& path) {
  Shape shape;
  std::size_t i = 1;
  while (i < text.size() && text[i] != ')') {
    if (text[i] == ' ' || text[i] == ',') {
      ++i;
      continue;
    }
    std::int64_t dim = 0;
    bool digits = false;
    for (; i < text.size() && std::isdigit(static_cast<unsigned char>(text[i])); ++i, digits = true)
      if (__builtin_mul_overflow(dim, std::int64_t{10}, &dim) || __builtin_add_overflow(dim, text[i] - '0', &dim))
        refuse(path, "the .npy shape is too large");
    if (!digits || shape.size() >= 8) refuse(path, "the .npy shape is malformed");
    shape.push_back(dim);
  }
  return shape;
}

}  // namespace

Tensor read_npy(const std::string& path) {
  const std::string bytes = read_file(path, Stage::kRun);
  if (bytes.size() < 10 || std::memcmp(bytes.data(), "\x93NUMPY", 6) != 0) refuse(path, "not a .npy file");
  const bool v1 = bytes[6] == 1;
  const std::size_t start = v1 ? 10 : 12;
  if (bytes.size() < start) refuse(path, "the .npy file is truncated");
  std::size_t length = 0;
  for (std::size_t i = start; i-- > 8;) length = length << 8 | static_cast<unsigned char>(bytes[i]);
  if (length > bytes.size() - start) refuse(path, "the .npy file is truncated");
  const std::string_view header(bytes.data() + start, length);

  const std::string_view descr = value_of(header, "descr", path);
  if (value_of(header, "fortran_order", path) != "False") refuse(path, "the array is in Fortran order");
  for (const NpyType& type : kTypes) {
    if (descr.size() != 5 || descr.substr(1, 3) != type.descr) continue;
    const Shape shape = parse_shape(value_of(header, "shape", path), path);
    const TensorView view{type.dtype, shape, reinterpret_cast<const std::byte*>(bytes.data()) + start + length};
    const std::size_t have = bytes.size() - start - length;
    if (static_cast<std::size_t>(element_count(shape)) > have || view.size_bytes() != have)
      refuse(path, "the .npy data is " + std::to_string(have) + " bytes, which is not " + to_string(shape) + " " +
                       name_of(type.dtype));
    return Tensor::copy_of(view);
  }
  refuse(path, "element type " + std::string(descr) + " is not supported");
}

void write_npy(const std::string& path, const TensorView& tensor) {
  const char* descr = nullptr;
  for (const NpyType& type : kTypes)
    if (type.dtype == tensor.dtype) descr = type.descr;
  if (descr == nullptr)
    throw Error(Stage::kReport, path, std::string(name_of(tensor.dtype)) + " has no NumPy type",
                "Convert it to float32 first.");
  std::string header = std::string("{'descr': '") + descr + "', 'fortran_order': False, 'shape': (";
  for (std::int64_t dim : tensor.shape) header += std::to_string(dim) + ", ";
  if (tensor.shape.size() > 1) header.erase(header.size() - 2);
  if (tensor.shape.size() == 1) header.pop_back();
  header += "), }";
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  AtomicFile file(path, Stage::kReport);
  file.write(std::string_view("\x93NUMPY\x01\x00", 8));
  const unsigned char size[2] = {static_cast<unsigned char>(header.size() & 255),
                                 static_cast<unsigned char>(header.size() >> 8)};
  file.write(size, 2);
  file.write(header);
  file.write(tensor.data, tensor.size_bytes());
  file.commit();
}

}  // namespace ferry
