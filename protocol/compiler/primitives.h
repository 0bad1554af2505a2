// The primitive types of the schema language: their C++ types and how they are encoded.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace millrace::compiler {

struct Primitive {
  std::string_view name;
  std::string_view cpp_type;
  // Bytes when encoded; for a type with a length, the fewest: in the old encoding, in the flexible one.
  int min_size;
  int min_flexible_size;
  // Whether null can be told from all its values.
  bool nullable;
};

// Null for a name that isn't a primitive type.
const Primitive* find_primitive(std::string_view name);
std::vector<std::string> primitive_names();

bool is_integer(const Primitive& primitive);
// Whether `text` is a value that fits; integers may be decimal or hexadecimal.
bool is_value(const Primitive& primitive, std::string_view text);

}  // namespace millrace::compiler
