// What the schema says of a field, as the generated visiting functions hand it to reader, writer and printer.
//
// The compiler emits one visiting function per struct. It names each field once, in wire order:
//
//   visitor.field(topic.name, Field{"name", {0, 12}}, std::string_view());
//   visitor.tags([&](auto& tags) { tags.field(0, topic.leader, Field{"leader", {12, 17}}, kEmpty); });
//
// with the field's value, its description and its default; a visitor decides what to do with them.
#pragma once

#include <cstdint>
#include <limits>

namespace millrace::protocol {

// First and last version, both included.
struct Versions {
  int16_t first = 0;
  int16_t last = std::numeric_limits<int16_t>::max();
  constexpr bool contains(int16_t version) const { return first <= version && version <= last; }
};

constexpr Versions kNoVersions{1, 0};
// The first flexible version of a message that has none.
constexpr int16_t kNeverFlexible = std::numeric_limits<int16_t>::max();

struct Field {
  // As in Kafka's JSON, e.g. "throttleTimeMs".
  const char* name = "";
  Versions versions;
  // Versions in which null is a legal value.
  Versions nullable = kNoVersions;
  // Whether a version without this field may be written though its value isn't the default.
  bool ignorable = false;
};

// The default of an array, of bytes and of a struct: no elements, no bytes, each field at its own default.
struct Empty {};
constexpr Empty kEmpty;

// Selects a struct's visiting function.
template <class T>
struct Tag {};

// A struct that carries more tagged fields than this is refused; Kafka defines four at most.
constexpr uint32_t kMaxTaggedFields = 256;
// Longer strings can't be written in the old encoding, and Kafka refuses them in the new one too.
constexpr uint32_t kMaxStringSize = 0x7fff;

}  // namespace millrace::protocol
