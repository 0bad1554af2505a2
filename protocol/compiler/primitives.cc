#include "primitives.h"

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <optional>
#include <string>

namespace millrace::compiler {
namespace {

constexpr Primitive kPrimitives[] = {
    {"bool", "bool", 1, 1, false},
    {"int8", "int8_t", 1, 1, false},
    {"int16", "int16_t", 2, 2, false},
    {"int32", "int32_t", 4, 4, false},
    {"int64", "int64_t", 8, 8, false},
    {"uint16", "uint16_t", 2, 2, false},
    {"uint32", "uint32_t", 4, 4, false},
    {"float64", "double", 8, 8, false},
    {"error", "ErrorCode", 2, 2, false},
    {"uuid", "Uuid", 16, 16, false},
    {"string", "std::string_view", 2, 1, true},
    {"bytes", "Bytes", 4, 1, true},
    {"records", "Records", 4, 1, true},
};

template <class Integer>
bool fits(long long value) {
  return value >= std::numeric_limits<Integer>::min() && value <= std::numeric_limits<Integer>::max();
}

std::optional<long long> parse_integer(std::string_view text) {
  const std::string copy(text);
  char* end = nullptr;
  errno = 0;
  const bool hex = copy.starts_with("0x");
  const long long value = std::strtoll(copy.c_str(), &end, hex ? 16 : 10);
  if (copy.empty() || *end != '\0' || errno != 0) return std::nullopt;
  return value;
}

}  // namespace

const Primitive* find_primitive(std::string_view name) {
  for (const Primitive& primitive : kPrimitives) {
    if (primitive.name == name) return &primitive;
  }
  return nullptr;
}

std::vector<std::string> primitive_names() {
  std::vector<std::string> names;
  for (const Primitive& primitive : kPrimitives) names.emplace_back(primitive.name);
  return names;
}

bool is_integer(const Primitive& primitive) {
  return primitive.name.starts_with("int") || primitive.name.starts_with("uint");
}

bool is_value(const Primitive& primitive, std::string_view text) {
  if (primitive.name == "bool") return text == "true" || text == "false";
  if (primitive.name == "string") return text.size() >= 2 && text.front() == '"' && text.back() == '"';
  if (primitive.name == "float64") {
    const std::string copy(text);
    char* end = nullptr;
    std::strtod(copy.c_str(), &end);
    return !copy.empty() && *end == '\0';
  }
  if (!is_integer(primitive)) return false;
  const auto value = parse_integer(text);
  if (!value) return false;
  if (primitive.name == "int8") return fits<int8_t>(*value);
  if (primitive.name == "int16") return fits<int16_t>(*value);
  if (primitive.name == "int32") return fits<int32_t>(*value);
  if (primitive.name == "uint16") return fits<uint16_t>(*value);
  if (primitive.name == "uint32") return fits<uint32_t>(*value);
  return true;
}

}  // namespace millrace::compiler
