// The only names a pickle may ask for, and what they mean. Nothing is imported and nothing is called: a "call" turns
// its arguments into a Value.
#pragma once

#include <string_view>
#include <vector>

#include "checkpoint/refusal.h"
#include "checkpoint/value.h"

namespace ferry {

class TorchObjects {
 public:
  /// At most `max_tensors` tensors and as many references to storages.
  TorchObjects(Refusal refuse, std::size_t max_tensors) : refuse_(std::move(refuse)), max_tensors_(max_tensors) {}

  /// GLOBAL. Refuses every name that is not in the table, naming it.
  Value global(std::string_view module, std::string_view name) const;
  /// REDUCE and NEWOBJ: `arguments` is a tuple.
  Value call(const Value& function, const Value& arguments);
  /// BUILD: attributes of dictionaries, tensors and opaque things are dropped; other targets are refused.
  void build(const Value& target) const;
  /// A persistent id: ("storage", type, key, location, count[, view]).
  Value persistent(const Value& id);

  const std::vector<StorageRef>& storages() const noexcept { return storages_; }
  const std::vector<TensorRef>& tensors() const noexcept { return tensors_; }

 private:
  Value rebuild_tensor(const Value& arguments, const ElementType* type);
  Value rebuild_parameter(const Value& arguments) const;
  Value rebuild_typed(const Value& arguments);
  Value dictionary(const Value& arguments) const;
  void read_view(const Value& view, StorageRef& storage) const;

  Refusal refuse_;
  std::size_t max_tensors_;
  std::vector<StorageRef> storages_;
  std::vector<TensorRef> tensors_;
};

}  // namespace ferry
