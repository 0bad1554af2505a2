// What a schema file says, as the parser reads it and the emitter writes it. The language is described in
// protocol/schema/README.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace millrace::compiler {

// First and last version, both included; last is kOpen for "3+" until the checker knows the message's last.
struct VersionRange {
  static constexpr int kOpen = 0x7fff;
  int first = 0;
  int last = kOpen;
  bool contains(int version) const { return first <= version && version <= last; }
  bool contains(const VersionRange& other) const { return first <= other.first && other.last <= last; }
  bool operator==(const VersionRange&) const = default;
};

struct Struct;

struct Field {
  int line = 0;
  std::string name;
  // Without the brackets and the question mark.
  std::string type;
  bool is_array = false;
  bool nullable = false;
  // Set by the checker where absent: the message's versions, the field's own versions.
  std::optional<VersionRange> versions;
  std::optional<VersionRange> nullable_versions;
  bool ignorable = false;
  std::optional<int> tag;
  std::optional<std::string> default_value;
  // Set by the checker: what `type` names, null for a primitive type.
  const Struct* structure = nullptr;
};

struct Struct {
  int line = 0;
  std::string name;
  std::vector<Field> fields;
  // Declared inside, by a field with a body or by "struct"; in order.
  std::vector<std::unique_ptr<Struct>> structs;
  // Set by the checker: qualified C++ name, e.g. "FetchRequest::Topic"; whether arrays hold it.
  std::string full_name;
  mutable bool is_element = false;
  mutable bool is_used = false;
};

struct Message {
  VersionRange versions;
  // Nothing where no version is flexible.
  std::optional<VersionRange> flexible;
  Struct body;
};

struct Schema {
  std::string file;
  // The comment that opens the file, without the '#': it opens the generated header too.
  std::vector<std::string> notes;
  bool is_api = true;
  int line = 0;
  std::string name;
  std::optional<int> key;
  std::vector<Message> messages;
};

struct Problem {
  int line = 0;
  // What is wrong and what to do.
  std::string text;
};

}  // namespace millrace::compiler
