// A restricted unpickler: the opcodes of protocols 2 to 5 that tensors, dictionaries and plain values need. There is no
// import, no call and no code in it; every other opcode and every unknown global is refused by name.
//
// Format: Python's Lib/pickletools.py.
#pragma once

#include <cstdint>
#include <deque>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "checkpoint/byte_reader.h"
#include "checkpoint/torch_objects.h"
#include "checkpoint/value.h"

namespace ferry {

class Unpickler {
 public:
  /// `bytes` may go on after the pickle's end. `bytes` and `objects` must outlive the values.
  Unpickler(std::string_view bytes, TorchObjects& objects, const Refusal& refuse);

  /// Runs to STOP; the result lives as long as this object.
  const Value& run();
  /// Bytes used, after `run`.
  std::size_t consumed() const noexcept { return in_.position(); }

 private:
  struct Opcode {
    unsigned char code;
    const char* name;
    void (*run)(Unpickler&);  // nullptr: known and refused
  };
  static const Opcode kOpcodes[];
  static const Opcode* opcode(unsigned char code);

  void step();
  void push(Value value);
  void push_int(std::int64_t number) { push({Kind::kInt, number, {}, {}}); }
  void push_list(Kind kind, std::vector<const Value*> items) { push({kind, 0, {}, std::move(items)}); }
  Value* pop();
  Value* top();
  std::vector<const Value*> pop_to_mark();
  void push_slice(Kind kind, std::uint64_t size) { push({kind, 0, in_.take(size), {}}); }
  void push_tuple(std::size_t size);
  void push_global(std::string_view module, std::string_view name);
  void put(std::uint64_t index);
  void get(std::uint64_t index);
  void set_items(std::vector<const Value*> items);
  void append_items(std::vector<const Value*> items);
  void push_long(std::uint64_t size);
  void stack_global();
  void reduce();
  void build();
  void persistent();

  ByteReader in_;
  TorchObjects& objects_;
  const Refusal& refuse_;
  std::deque<Value> arena_;  // addresses stay valid
  std::vector<Value*> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint64_t, Value*> memo_;
  std::size_t items_ = 0;  // held by all values when they were made
  bool stopped_ = false;
};

}  // namespace ferry
