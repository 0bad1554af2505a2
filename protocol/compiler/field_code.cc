#include "field_code.h"

#include "names.h"
#include "primitives.h"

namespace millrace::compiler {
namespace {

// C++ has no literal for the smallest integer of a type: it is the negation of one that is too large.
std::string literal(const Field& field) {
  const std::string& value = *field.default_value;
  if (value == "-2147483648") return "std::numeric_limits<int32_t>::min()";
  if (value == "-9223372036854775808") return "std::numeric_limits<int64_t>::min()";
  return value;
}

bool defaults_to_null(const Field& field) {
  return field.default_value == "null" || (field.type == "records" && !field.is_array);
}

std::string versions_code(const VersionRange& range) {
  return "{" + std::to_string(range.first) + ", " + std::to_string(range.last) + "}";
}

int min_field_size(const Field& field, const Message& message, int version) {
  const bool flexible = message.flexible && message.flexible->contains(version);
  if (!field.versions->contains(version) || field.tag) return 0;
  if (field.is_array) return flexible ? 1 : 4;
  if (const Primitive* primitive = find_primitive(field.type)) {
    return flexible ? primitive->min_flexible_size : primitive->min_size;
  }
  if (field.nullable && field.nullable_versions->contains(version)) return 1;
  return min_size(*field.structure, message, version);
}

}  // namespace

std::string cpp_type(const Field& field) {
  const Primitive* primitive = find_primitive(field.type);
  std::string type(primitive != nullptr ? primitive->cpp_type : field.type);
  if (field.is_array) type = "Array<" + type + ">";
  // Records know their own null.
  if (field.nullable && type != "Records") type = "std::optional<" + type + ">";
  return type;
}

std::string initializer(const Field& field) {
  const Primitive* primitive = find_primitive(field.type);
  if (field.type == "records" && !field.is_array) return "";
  if (field.nullable) {
    if (defaults_to_null(field)) return "";
    if (field.default_value && !field.is_array) return " = std::string_view(" + *field.default_value + ")";
    return " = " +
           (field.is_array ? cpp_type(Field{.type = field.type, .is_array = true})
                           : std::string(primitive != nullptr ? primitive->cpp_type : field.type)) +
           "{}";
  }
  if (field.is_array || primitive == nullptr) return "";
  if (field.default_value) return " = " + literal(field);
  if (field.type == "bool") return " = false";
  if (field.type == "error") return " = ErrorCode::kNone";
  return is_integer(*primitive) || field.type == "float64" ? " = 0" : "";
}

std::string default_code(const Field& field) {
  if (defaults_to_null(field)) return "std::nullopt";
  const Primitive* primitive = find_primitive(field.type);
  if (field.is_array || primitive == nullptr || field.type == "bytes" || field.type == "uuid")
    return "kEmpty";
  if (field.type == "string") return "std::string_view(" + field.default_value.value_or("") + ")";
  if (field.type == "error") return "ErrorCode::kNone";
  if (field.default_value) return literal(field);
  return field.type == "bool" ? "false" : "0";
}

std::string description(const Field& field, const Message& message) {
  std::string code = "Field{.name = \"" + camel_case(field.name) + "\"";
  if (field.versions != message.versions) code += ", .versions = " + versions_code(*field.versions);
  if (field.nullable) code += ", .nullable = " + versions_code(*field.nullable_versions);
  if (field.ignorable) code += ", .ignorable = true";
  return code + "}";
}

int min_size(const Struct& structure, const Message& message, int version) {
  // A flexible struct ends with the count of its tagged fields.
  int size = message.flexible && message.flexible->contains(version) ? 1 : 0;
  for (const Field& field : structure.fields) size += min_field_size(field, message, version);
  return size;
}

}  // namespace millrace::compiler
