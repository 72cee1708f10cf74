#include "onnx/foreign/evaluate.h"

#include <algorithm>

#include "onnx/graph_index.h"
#include "onnx/tensor_proto.h"

namespace ferry {
namespace {

using onnx::AttributeProto;
using onnx::NodeProto;
using onnx::TensorProto;
using Result = std::optional<TensorProto>;

constexpr std::int64_t kLargestFold = 1 << 16;  // elements: shapes and small vectors, not weights

TensorProto with_shape(const TensorProto& tensor, const Shape& shape) {
  TensorProto result(tensor);
  result.clear_dims();
  for (std::int64_t dim : shape) result.add_dims(dim);
  return result;
}

TensorProto vector_of(const std::vector<std::int64_t>& values, bool scalar = false) {
  TensorProto tensor = make_int64s("", values);
  return scalar ? with_shape(tensor, {}) : tensor;
}

TensorProto floats_tensor(const std::vector<float>& values, bool scalar) {
  Shape shape;
  if (!scalar) shape = {static_cast<std::int64_t>(values.size())};
  return make_tensor("", {DType::kFloat32, shape, reinterpret_cast<const std::byte*>(values.data())});
}

/// Which of `size` rows Slice takes. "As far as it goes" is written as a huge number of either sign.
std::vector<std::int64_t> slice_rows(std::int64_t size, std::int64_t start, std::int64_t end, std::int64_t step) {
  const std::int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
  const auto bound = [&](std::int64_t i) { return std::clamp(i < 0 ? std::max(i, -size - 1) + size : i, low, high); };
  std::vector<std::int64_t> wanted;
  step = std::clamp(step, -size, size);
  for (std::int64_t i = bound(start); step > 0 ? i < bound(end) : i > bound(end); i += step) wanted.push_back(i);
  return wanted;
}

/// A node and the weights that it reads.
class Evaluator {
 public:
  Evaluator(const NodeProto& node, const Weights& weights) : node_(node), weights_(weights) {}

  Result run() const {
    const std::string& op = node_.op_type();
    if (op == "Constant") return constant();
    if (op == "Shape") return shape();
    for (int i = 0; i < node_.input_size(); ++i)  // CastLike and friends look only at the type of the second
      if (!node_.input(i).empty() && input(i) == nullptr && !(op == "CastLike" && i == 1)) return {};
    if (input(0) == nullptr || element_count(shape_of(*input(0))) > kLargestFold) return {};
    static const std::unordered_map<std::string, Result (Evaluator::*)() const> operators{
        {"Unsqueeze", &Evaluator::unsqueeze},
        {"Squeeze", &Evaluator::squeeze},
        {"Reshape", &Evaluator::reshape},
        {"Concat", &Evaluator::concat},
        {"Gather", &Evaluator::gather},
        {"Cast", &Evaluator::cast},
        {"CastLike", &Evaluator::cast},
        {"Expand", &Evaluator::expand},
        {"Slice", &Evaluator::slice},
        {"Transpose", &Evaluator::transpose},
        {"ConstantOfShape", &Evaluator::constant_of_shape}};
    const auto found = operators.find(op);
    return found == operators.end() ? Result() : (this->*found->second)();
  }

 private:
  const TensorProto* input(int i) const {
    if (i >= node_.input_size()) return nullptr;
    const auto found = weights_.find(node_.input(i));
    return found == weights_.end() ? nullptr : found->second;
  }

  bool is_integer(int i) const {
    return input(i) != nullptr &&
           (input(i)->data_type() == TensorProto::INT64 || input(i)->data_type() == TensorProto::INT32);
  }

  Result constant() const {
    if (node_.attribute_size() != 1) return {};
    const AttributeProto& a = node_.attribute(0);
    if (a.name() == "value") return a.t();
    if (a.name() == "value_int") return vector_of({a.i()}, true);
    if (a.name() == "value_ints") return vector_of({a.ints().begin(), a.ints().end()});
    if (a.name() == "value_float") return floats_tensor({a.f()}, true);
    if (a.name() == "value_floats") return floats_tensor({a.floats().begin(), a.floats().end()}, false);
    return {};
  }

  Result shape() const {
    if (input(0) == nullptr) return {};
    const Shape shape = shape_of(*input(0));
    const auto rank = static_cast<std::int64_t>(shape.size());
    const auto bound = [&](std::int64_t i) { return std::clamp<std::int64_t>(i < 0 ? i + rank : i, 0, rank); };
    const std::int64_t start = bound(int_attribute(node_, "start", 0)), end = bound(int_attribute(node_, "end", rank));
    if (start > end) return vector_of({});
    return vector_of({shape.begin() + start, shape.begin() + end});
  }

  /// Axes, from the attribute (before opset 13) or the input; negative ones counted from `rank`.
  std::optional<std::vector<std::int64_t>> axes(std::int64_t rank) const {
    std::vector<std::int64_t> axes;
    if (const AttributeProto* attribute = find_attribute(node_, "axes")) {
      axes.assign(attribute->ints().begin(), attribute->ints().end());
    } else if (is_integer(1)) {
      axes = integers_of(*input(1));
    } else {
      return {};
    }
    for (std::int64_t& axis : axes) {
      if (axis < 0) axis += rank;
      if (axis < 0 || axis >= rank) return {};
    }
    std::sort(axes.begin(), axes.end());
    if (std::adjacent_find(axes.begin(), axes.end()) != axes.end()) return {};
    return axes;
  }

  Result unsqueeze() const {
    Shape shape = shape_of(*input(0));
    const AttributeProto* attribute = find_attribute(node_, "axes");
    const std::size_t added = attribute != nullptr ? static_cast<std::size_t>(attribute->ints_size())
                              : is_integer(1)      ? integers_of(*input(1)).size()
                                                   : 0;
    const auto wanted = axes(static_cast<std::int64_t>(shape.size() + added));
    if (!wanted) return {};
    for (std::int64_t axis : *wanted) shape.insert(shape.begin() + axis, 1);
    return with_shape(*input(0), shape);
  }

  Result squeeze() const {
    const Shape shape = shape_of(*input(0));
    const auto wanted = axes(static_cast<std::int64_t>(shape.size()));
    if (!wanted) return {};
    Shape kept;
    for (std::size_t i = 0; i < shape.size(); ++i) {
      const bool gone = std::find(wanted->begin(), wanted->end(), static_cast<std::int64_t>(i)) != wanted->end();
      if (gone && shape[i] != 1) return {};
      if (!gone) kept.push_back(shape[i]);
    }
    return with_shape(*input(0), kept);
  }

  Result reshape() const {
    if (!is_integer(1)) return {};
    Shape target = integers_of(*input(1));
    const std::int64_t count = element_count(shape_of(*input(0)));
    std::int64_t known = 1, *open = nullptr;
    for (std::int64_t& dim : target) {
      if (dim == -1 && open == nullptr) {
        open = &dim;
      } else if (dim <= 0 || __builtin_mul_overflow(known, dim, &known)) {
        return {};
      }
    }
    if (open != nullptr && count % known == 0) *open = count / known;
    if (open != nullptr ? count % known != 0 : known != count) return {};
    return with_shape(*input(0), target);
  }

  Result concat() const {  // of vectors
    TensorProto result = *input(0);
    std::int64_t length = 0;
    result.clear_raw_data();
    for (int i = 0; i < node_.input_size(); ++i) {
      if (input(i) == nullptr || input(i)->dims_size() != 1 || input(i)->data_type() != result.data_type()) return {};
      length += input(i)->dims(0);
      result.mutable_raw_data()->append(input(i)->raw_data());
    }
    return with_shape(result, {length});
  }

  Result gather() const {  // single numbers out of a vector
    if (!is_integer(0) || !is_integer(1) || input(0)->dims_size() != 1) return {};
    const std::vector<std::int64_t> from = integers_of(*input(0));
    std::vector<std::int64_t> taken;
    for (std::int64_t i : integers_of(*input(1))) {
      if (i < 0) i += static_cast<std::int64_t>(from.size());
      if (i < 0 || i >= static_cast<std::int64_t>(from.size())) return {};
      taken.push_back(from[static_cast<std::size_t>(i)]);
    }
    if (input(0)->data_type() != TensorProto::INT64) return {};
    return with_shape(make_int64s("", taken), shape_of(*input(1)));
  }

  Result cast() const {
    const int to = static_cast<int>(int_attribute(node_, "to", 0));
    if (to == input(0)->data_type()) return *input(0);
    if (node_.op_type() == "CastLike") {
      // The exporters that write it cast a float constant to the type of an activation, which is float too.
      const bool same = input(0)->data_type() == TensorProto::FLOAT;
      return same && input(1) == nullptr ? Result(*input(0)) : Result();
    }
    if (!is_floating(to) || !is_floating(input(0)->data_type())) return {};
    TensorProto result = *input(0);
    result.set_data_type(to);
    const std::vector<double> values = doubles_of(*input(0));
    result.mutable_raw_data()->assign(values.size() * element_size(to), '\0');
    set_doubles(result, values);
    return result;
  }

  /// Rows (along the first dimension) in another order.
  Result rows(const std::vector<std::int64_t>& wanted) const {
    const std::string& raw = input(0)->raw_data();
    Shape shape = shape_of(*input(0));
    const std::size_t row = raw.size() / static_cast<std::size_t>(shape[0]);
    TensorProto result = *input(0);
    result.clear_raw_data();
    for (std::int64_t i : wanted) result.mutable_raw_data()->append(raw, static_cast<std::size_t>(i) * row, row);
    shape[0] = static_cast<std::int64_t>(wanted.size());
    return with_shape(result, shape);
  }

  Result slice() const {  // along the first dimension
    for (int i = 1; i < 5; ++i)
      if (node_.input_size() > i && (!is_integer(i) || element_count(shape_of(*input(i))) != 1)) return {};
    const auto number = [&](int i, std::int64_t fallback) {
      return input(i) != nullptr ? integers_of(*input(i))[0] : fallback;
    };
    const std::int64_t size = input(0)->dims_size() > 0 ? input(0)->dims(0) : 0, step = number(4, 1);
    if (node_.input_size() < 3 || size == 0 || number(3, 0) != 0 || step == 0) return {};
    return rows(slice_rows(size, number(1, 0), number(2, size), step));
  }

  Result transpose() const {  // of a matrix
    if (input(0)->dims_size() != 2) return {};
    const AttributeProto* perm = find_attribute(node_, "perm");
    if (perm != nullptr && (perm->ints_size() != 2 || perm->ints(0) != 1 || perm->ints(1) != 0)) return {};
    const auto n = static_cast<std::size_t>(input(0)->dims(0)), m = static_cast<std::size_t>(input(0)->dims(1));
    const std::size_t size = element_size(input(0)->data_type());
    TensorProto result = with_shape(*input(0), {input(0)->dims(1), input(0)->dims(0)});
    result.clear_raw_data();
    for (std::size_t j = 0; j < m; ++j)
      for (std::size_t i = 0; i < n; ++i)
        result.mutable_raw_data()->append(input(0)->raw_data(), (i * m + j) * size, size);
    return result;
  }

  Result repeat(const TensorProto& one, const Shape& shape) const {
    for (std::int64_t dim : shape)
      if (dim < 0 || dim > kLargestFold) return {};
    const std::int64_t count = shape.size() > 4 ? kLargestFold + 1 : element_count(shape);
    if (count > kLargestFold || one.raw_data().size() != element_size(one.data_type())) return {};
    TensorProto result = with_shape(one, shape);
    std::string raw;
    for (std::int64_t i = 0; i < count; ++i) raw += one.raw_data();
    *result.mutable_raw_data() = std::move(raw);
    return result;
  }

  Result expand() const {  // of one number
    if (!is_integer(1) || element_count(shape_of(*input(0))) != 1) return {};
    Shape shape = integers_of(*input(1));
    const Shape own = shape_of(*input(0));
    if (own.size() > shape.size()) shape.insert(shape.begin(), own.size() - shape.size(), 1);
    return repeat(*input(0), shape);
  }

  Result constant_of_shape() const {
    if (!is_integer(0)) return {};
    const AttributeProto* value = find_attribute(node_, "value");
    return repeat(value != nullptr ? value->t() : floats_tensor({0}, false), integers_of(*input(0)));
  }

  const NodeProto& node_;
  const Weights& weights_;
};

}  // namespace

std::optional<TensorProto> evaluate(const NodeProto& node, const Weights& weights) {
  return Evaluator(node, weights).run();
}

}  // namespace ferry
