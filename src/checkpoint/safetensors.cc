// safetensors: the header's length as uint64, a JSON header, the tensors' bytes.
//
// Format: github.com/huggingface/safetensors, README "Format". Its rules are kept: at most 100 MB of header, no
// overlap, no hole, no duplicate key.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "checkpoint/byte_reader.h"
#include "checkpoint/contents.h"

namespace ferry {
namespace {

constexpr std::uint64_t kMaxHeader = 100'000'000;

struct Item {
  std::string name, dtype;
  Shape shape;
  std::vector<std::uint64_t> offsets;
};

// Takes the header apart as it is parsed: {"name":{"dtype":..,"shape":[..],"data_offsets":[b,e]},
// "__metadata__":{..}}. Depth is bounded by the grammar, so that nested input cannot exhaust anything.
class Header : public nlohmann::json_sax<nlohmann::json> {
 public:
  Header(const Refusal& refuse, std::size_t max_tensors) : refuse_(refuse), max_tensors_(max_tensors) {}
  std::vector<Item> items;

  bool start_object(std::size_t) override {
    if (++depth_ > 2 || in_array_) unexpected();
    return true;
  }
  bool end_object() override {
    if (--depth_ == 1 && !metadata_) finish_item();
    return true;
  }
  bool key(std::string& text) override {
    field_ = text;
    if (depth_ != 1) return true;
    metadata_ = text == "__metadata__";
    if (metadata_) return true;
    if (items.size() >= max_tensors_) refuse_("more than " + std::to_string(max_tensors_) + " tensors");
    items.push_back({text, {}, {}, {}});
    return true;
  }
  bool string(std::string& text) override {
    if (depth_ != 2 || in_array_) unexpected();
    if (metadata_) return true;
    if (field_ != "dtype" || !items.back().dtype.empty()) unexpected();
    items.back().dtype = text;
    return true;
  }
  bool start_array(std::size_t) override {
    if (depth_ != 2 || metadata_ || in_array_ || (field_ != "shape" && field_ != "data_offsets")) unexpected();
    bool& seen = field_ == "shape" ? saw_shape_ : saw_offsets_;
    if (seen) unexpected();
    return in_array_ = seen = true;
  }
  bool end_array() override {
    in_array_ = false;
    return true;
  }
  bool number_unsigned(std::uint64_t value) override {
    if (!in_array_) unexpected();
    if (field_ == "data_offsets") {
      items.back().offsets.push_back(value);
    } else {
      if (value > INT64_MAX) refuse_.about(items.back().name)("the shape is not one that memory can hold");
      items.back().shape.push_back(static_cast<std::int64_t>(value));
    }
    if (items.back().shape.size() > 16 || items.back().offsets.size() > 2) unexpected();
    return true;
  }
  bool number_integer(std::int64_t) override { unexpected(); }  // negative
  bool number_float(double, const std::string&) override { unexpected(); }
  bool null() override { unexpected(); }
  bool boolean(bool) override { unexpected(); }
  bool binary(nlohmann::json::binary_t&) override { unexpected(); }
  bool parse_error(std::size_t at, const std::string&, const nlohmann::json::exception&) override {
    refuse_("the safetensors header is not JSON, at byte " + std::to_string(at + 7), kDamaged);
  }

 private:
  [[noreturn]] void unexpected() {
    refuse_(
        "the safetensors header is not {name: {dtype, shape, data_offsets}}, near '" + Refusal::printable(field_) + "'",
        kDamaged);
  }
  void finish_item() {
    if (items.back().dtype.empty() || !saw_shape_ || items.back().offsets.size() != 2) unexpected();
    saw_shape_ = saw_offsets_ = false;
  }

  const Refusal& refuse_;
  std::size_t max_tensors_;
  std::string field_;
  int depth_ = 0;
  bool in_array_ = false, metadata_ = false, saw_shape_ = false, saw_offsets_ = false;
};

DType dtype_of(const Item& item, const Refusal& refuse) {
  constexpr std::pair<const char*, DType> kTypes[] = {
      {"F32", DType::kFloat32}, {"F16", DType::kFloat16}, {"BF16", DType::kBFloat16},
      {"F64", DType::kFloat64}, {"I64", DType::kInt64},   {"I32", DType::kInt32},
      {"I8", DType::kInt8},     {"U8", DType::kUInt8},    {"BOOL", DType::kBool}};
  for (const auto& [name, dtype] : kTypes)
    if (item.dtype == name) return dtype;
  refuse.about(item.name)("the tensor's element type " + Refusal::printable(item.dtype) + " is not supported");
}

}  // namespace

bool looks_like_safetensors(std::string_view file) noexcept {
  return file.size() > 8 && file[8] == '{' && file[7] == 0 && file[6] == 0;
}

Contents read_safetensors(std::string_view file, const Refusal& refuse, const CheckpointLimits& limits) {
  ByteReader in(file, refuse);
  const std::uint64_t length = in.u64();
  if (length > kMaxHeader) refuse("the safetensors header claims " + std::to_string(length) + " bytes", kDamaged);
  const std::string_view text = in.take(length);
  const std::string_view data = in.take(in.left());
  Header header(refuse, limits.max_tensors);
  nlohmann::json::sax_parse(text.begin(), text.end(), &header);

  std::vector<Item>& items = header.items;
  std::stable_sort(items.begin(), items.end(), [](const Item& a, const Item& b) { return a.offsets < b.offsets; });
  Contents contents;
  contents.format = CheckpointFormat::kSafetensors;
  std::uint64_t end = 0;
  for (Item& item : items) {
    const std::uint64_t begin = item.offsets[0];
    if (begin != end || item.offsets[1] < begin || item.offsets[1] > data.size())
      refuse.about(item.name)("the tensor's bytes overlap another's, leave a hole or lie outside the file", kDamaged);
    end = item.offsets[1];
    const DType dtype = dtype_of(item, refuse);
    check_shape(item.shape, dtype, refuse.about(item.name));
    const std::string_view bytes = data.substr(begin, end - begin);
    contents.tensors.push_back(place_tensor(item.name, dtype, 0, item.shape, row_major(item.shape), bytes, refuse));
    if (static_cast<std::uint64_t>(element_count(item.shape)) * size_of(dtype) != bytes.size())
      refuse.about(item.name)("the tensor's shape " + to_string(item.shape) + " is not what its " +
                              std::to_string(bytes.size()) + " bytes hold");
  }
  if (end != data.size()) refuse("bytes after the last tensor: the file is damaged or was appended to", kDamaged);
  strip_prefixes(contents);
  check_contents(contents, data.size(), limits, refuse);
  return contents;
}

}  // namespace ferry
