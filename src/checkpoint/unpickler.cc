#include "checkpoint/unpickler.h"

#include <array>

namespace ferry {
namespace {

// A checkpoint of 100,000 tensors makes about two million values.
constexpr std::size_t kMaxValues = 4'000'000, kMaxItems = 16'000'000;

}  // namespace

const Unpickler::Opcode Unpickler::kOpcodes[] = {
    {'.', "STOP", [](Unpickler& u) { u.stopped_ = true; }},
    {'(', "MARK", [](Unpickler& u) { u.marks_.push_back(u.stack_.size()); }},
    {'0', "POP", [](Unpickler& u) { u.pop(); }},
    {'1', "POP_MARK", [](Unpickler& u) { u.pop_to_mark(); }},
    {'2', "DUP", [](Unpickler& u) { u.stack_.push_back(u.top()); }},
    {0x95, "FRAME", [](Unpickler& u) { u.in_.skip(8); }},  // frames are a hint for reading ahead
    // Plain values.
    {'N', "NONE", [](Unpickler& u) { u.push({Kind::kNone, 0, {}, {}}); }},
    {0x88, "NEWTRUE", [](Unpickler& u) { u.push({Kind::kBool, 1, {}, {}}); }},
    {0x89, "NEWFALSE", [](Unpickler& u) { u.push({Kind::kBool, 0, {}, {}}); }},
    {'K', "BININT1", [](Unpickler& u) { u.push_int(u.in_.u8()); }},
    {'M', "BININT2", [](Unpickler& u) { u.push_int(u.in_.u16()); }},
    {'J', "BININT", [](Unpickler& u) { u.push_int(static_cast<std::int32_t>(u.in_.u32())); }},
    {0x8a, "LONG1", [](Unpickler& u) { u.push_long(u.in_.u8()); }},
    {0x8b, "LONG4", [](Unpickler& u) { u.push_long(u.in_.u32()); }},
    {'G', "BINFLOAT", [](Unpickler& u) { u.push_slice(Kind::kOpaque, 8); }},
    {'X', "BINUNICODE", [](Unpickler& u) { u.push_slice(Kind::kText, u.in_.u32()); }},
    {0x8c, "SHORT_BINUNICODE", [](Unpickler& u) { u.push_slice(Kind::kText, u.in_.u8()); }},
    {0x8d, "BINUNICODE8", [](Unpickler& u) { u.push_slice(Kind::kText, u.in_.u64()); }},
    {'T', "BINSTRING", [](Unpickler& u) { u.push_slice(Kind::kText, u.in_.u32()); }},  // Python 2's str
    {'U', "SHORT_BINSTRING", [](Unpickler& u) { u.push_slice(Kind::kText, u.in_.u8()); }},
    {'B', "BINBYTES", [](Unpickler& u) { u.push_slice(Kind::kBytes, u.in_.u32()); }},
    {'C', "SHORT_BINBYTES", [](Unpickler& u) { u.push_slice(Kind::kBytes, u.in_.u8()); }},
    {0x8e, "BINBYTES8", [](Unpickler& u) { u.push_slice(Kind::kBytes, u.in_.u64()); }},
    {0x96, "BYTEARRAY8", [](Unpickler& u) { u.push_slice(Kind::kBytes, u.in_.u64()); }},
    // Containers.
    {')', "EMPTY_TUPLE", [](Unpickler& u) { u.push_tuple(0); }},
    {0x85, "TUPLE1", [](Unpickler& u) { u.push_tuple(1); }},
    {0x86, "TUPLE2", [](Unpickler& u) { u.push_tuple(2); }},
    {0x87, "TUPLE3", [](Unpickler& u) { u.push_tuple(3); }},
    {'t', "TUPLE", [](Unpickler& u) { u.push_list(Kind::kTuple, u.pop_to_mark()); }},
    {']', "EMPTY_LIST", [](Unpickler& u) { u.push_list(Kind::kList, {}); }},
    {'l', "LIST", [](Unpickler& u) { u.push_list(Kind::kList, u.pop_to_mark()); }},
    {'a', "APPEND", [](Unpickler& u) { u.append_items({u.pop()}); }},
    {'e', "APPENDS", [](Unpickler& u) { u.append_items(u.pop_to_mark()); }},
    {'}', "EMPTY_DICT", [](Unpickler& u) { u.push_list(Kind::kDict, {}); }},
    {'d', "DICT",
     [](Unpickler& u) {
       std::vector<const Value*> items = u.pop_to_mark();
       u.push_list(Kind::kDict, {});
       u.set_items(std::move(items));
     }},
    {'s', "SETITEM",
     [](Unpickler& u) {
       const Value* value = u.pop();
       const Value* key = u.pop();
       u.set_items({key, value});
     }},
    {'u', "SETITEMS", [](Unpickler& u) { u.set_items(u.pop_to_mark()); }},
    {0x8f, "EMPTY_SET", [](Unpickler& u) { u.push_list(Kind::kOpaque, {}); }},
    {0x90, "ADDITEMS", [](Unpickler& u) { u.append_items(u.pop_to_mark()); }},
    {0x91, "FROZENSET", [](Unpickler& u) { u.push_list(Kind::kOpaque, u.pop_to_mark()); }},
    // The memo.
    {'q', "BINPUT", [](Unpickler& u) { u.put(u.in_.u8()); }},
    {'r', "LONG_BINPUT", [](Unpickler& u) { u.put(u.in_.u32()); }},
    {0x94, "MEMOIZE", [](Unpickler& u) { u.put(u.memo_.size()); }},
    {'h', "BINGET", [](Unpickler& u) { u.get(u.in_.u8()); }},
    {'j', "LONG_BINGET", [](Unpickler& u) { u.get(u.in_.u32()); }},
    // Names and what is made with them: see TorchObjects.
    {'c', "GLOBAL",
     [](Unpickler& u) {
       const std::string_view module = u.in_.line();
       u.push_global(module, u.in_.line());
     }},
    {0x93, "STACK_GLOBAL", [](Unpickler& u) { u.stack_global(); }},
    {'R', "REDUCE", [](Unpickler& u) { u.reduce(); }},
    {0x81, "NEWOBJ", [](Unpickler& u) { u.reduce(); }},
    {'b', "BUILD", [](Unpickler& u) { u.build(); }},
    {'Q', "BINPERSID", [](Unpickler& u) { u.push(u.objects_.persistent(*u.pop())); }},
    // Known, and refused by name.
    {'P', "PERSID", nullptr},
    {'I', "INT", nullptr},
    {'L', "LONG", nullptr},
    {'F', "FLOAT", nullptr},
    {'S', "STRING", nullptr},
    {'V', "UNICODE", nullptr},
    {'g', "GET", nullptr},
    {'p', "PUT", nullptr},
    {'i', "INST", nullptr},
    {'o', "OBJ", nullptr},
    {0x92, "NEWOBJ_EX", nullptr},
    {0x82, "EXT1", nullptr},
    {0x83, "EXT2", nullptr},
    {0x84, "EXT4", nullptr},
    {0x97, "NEXT_BUFFER", nullptr},
    {0x98, "READONLY_BUFFER", nullptr},
    {0x80, "PROTO", nullptr},  // only as the first one
};

const Unpickler::Opcode* Unpickler::opcode(unsigned char code) {
  static const std::array<const Opcode*, 256> by_code = [] {
    std::array<const Opcode*, 256> table{};
    for (const Opcode& known : kOpcodes) table[known.code] = &known;
    return table;
  }();
  return by_code[code];
}

Unpickler::Unpickler(std::string_view bytes, TorchObjects& objects, const Refusal& refuse)
    : in_(bytes, refuse), objects_(objects), refuse_(refuse) {}

const Value& Unpickler::run() {
  if (in_.u8() != 0x80) refuse_("not a pickle of protocol 2 to 5");
  const int protocol = in_.u8();
  if (protocol < 2 || protocol > 5) refuse_("pickle protocol " + std::to_string(protocol) + " is not one of 2 to 5");
  while (!stopped_) step();
  if (stack_.size() != 1 || !marks_.empty()) refuse_("the pickle ends with something other than one value");
  return *stack_.back();
}

void Unpickler::step() {
  const std::size_t at = in_.position();
  const unsigned char code = in_.u8();
  const Opcode* known = opcode(code);
  if (known == nullptr || known->run == nullptr) {
    const std::string name = known == nullptr ? std::to_string(code) : known->name;
    refuse_("the pickle's opcode " + name + " at byte " + std::to_string(at) + " is not one that tensors need");
  }
  known->run(*this);
}

void Unpickler::push(Value value) {
  items_ += value.items.size();
  if (arena_.size() >= kMaxValues || items_ > kMaxItems) refuse_("the pickle holds too many values");
  arena_.push_back(std::move(value));
  stack_.push_back(&arena_.back());
}

Value* Unpickler::top() {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) refuse_("the pickle takes a value that is not there");
  return stack_.back();
}

Value* Unpickler::pop() {
  Value* value = top();
  stack_.pop_back();
  return value;
}

std::vector<const Value*> Unpickler::pop_to_mark() {
  if (marks_.empty()) refuse_("the pickle goes back to a mark that is not there");
  const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
  std::vector<const Value*> items(begin, stack_.end());
  stack_.erase(begin, stack_.end());
  marks_.pop_back();
  return items;
}

void Unpickler::push_tuple(std::size_t size) {
  std::vector<const Value*> items(size);
  while (size-- > 0) items[size] = pop();
  push_list(Kind::kTuple, std::move(items));
}

// Up to 8 bytes are an integer, two's complement; more stay bytes (the legacy format's magic number).
void Unpickler::push_long(std::uint64_t size) {
  const std::string_view digits = in_.take(size);
  if (size > 8) return push({Kind::kBytes, 0, digits, {}});
  const bool negative = !digits.empty() && static_cast<signed char>(digits.back()) < 0;
  std::uint64_t value = negative ? ~std::uint64_t{0} : 0;
  for (std::size_t i = digits.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(digits[i]);
  push_int(static_cast<std::int64_t>(value));
}

void Unpickler::push_global(std::string_view module, std::string_view name) { push(objects_.global(module, name)); }

void Unpickler::stack_global() {
  const Value* name = pop();
  const Value* module = pop();
  if (name->kind != Kind::kText || module->kind != Kind::kText) refuse_("a global has no name");
  push_global(module->text, name->text);
}

void Unpickler::put(std::uint64_t index) { memo_[index] = top(); }

void Unpickler::get(std::uint64_t index) {
  const auto found = memo_.find(index);
  if (found == memo_.end()) refuse_("the pickle refers to memo " + std::to_string(index) + ", which is not there");
  stack_.push_back(found->second);
}

void Unpickler::append_items(std::vector<const Value*> items) {
  Value* list = top();
  if (list->kind == Kind::kOpaque) return;  // a set
  if (list->kind != Kind::kList) refuse_(std::string("the pickle appends to ") + name_of(list->kind));
  list->items.insert(list->items.end(), items.begin(), items.end());
}

void Unpickler::set_items(std::vector<const Value*> items) {
  Value* dict = top();
  if (items.size() % 2 != 0) refuse_("the pickle sets a key without a value");
  if (dict->kind == Kind::kOpaque) return;
  if (dict->kind != Kind::kDict) refuse_(std::string("the pickle sets items of ") + name_of(dict->kind));
  dict->items.insert(dict->items.end(), items.begin(), items.end());
}

void Unpickler::reduce() {
  const Value* arguments = pop();
  const Value* function = pop();
  push(objects_.call(*function, *arguments));
}

void Unpickler::build() {
  pop();  // the state
  objects_.build(*top());
}

}  // namespace ferry
