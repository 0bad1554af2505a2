// JSON values: what `--output json` prints and `produce --json` reads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "protocol/result.h"

namespace millrace::tools {

class Json {
 public:
  using Member = std::pair<std::string, Json>;
  // Members keep the order in which they were added.
  using Object = std::vector<Member>;
  using List = std::vector<Json>;

  Json() = default;
  Json(std::nullptr_t) {}
  Json(bool value) : value_(value) {}
  Json(int value) : value_(int64_t{value}) {}
  Json(int64_t value) : value_(value) {}
  Json(uint64_t value) : value_(static_cast<int64_t>(value)) {}
  Json(double value) : value_(value) {}
  Json(const char* value) : value_(std::string(value)) {}
  Json(std::string_view value) : value_(std::string(value)) {}
  Json(std::string value) : value_(std::move(value)) {}
  Json(List value) : value_(std::move(value)) {}
  Json(Object value) : value_(std::move(value)) {}
  template <class T>
  Json(const std::optional<T>& value) {
    if (value) *this = Json(*value);
  }

  // A name of any bytes, as groups, members and clients have them: those that aren't UTF-8 as \xNN. As U+FFFD
  // they would make one name of several.
  static Json name(const std::string& bytes);
  static Json name(const std::optional<std::string>& bytes) { return bytes ? name(*bytes) : Json(); }

  static Json object() { return Json(Object{}); }
  static Json list() { return Json(List{}); }

  // Reads one value that makes up the whole text; bad text is kInvalidRequest with the place and the reason.
  static Result<Json> parse(std::string_view text);

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  const bool* if_bool() const { return std::get_if<bool>(&value_); }
  const int64_t* if_integer() const { return std::get_if<int64_t>(&value_); }
  const double* if_number() const { return std::get_if<double>(&value_); }
  const std::string* if_string() const { return std::get_if<std::string>(&value_); }
  const List* if_list() const { return std::get_if<List>(&value_); }
  const Object* if_object() const { return std::get_if<Object>(&value_); }
  // The member of that name of an object, or nothing.
  const Json* find(std::string_view name) const;

  // Only on objects and on lists.
  Json& set(std::string name, Json value);
  Json& push(Json value);

  // On one line; `indent` above 0 spreads it over lines. Bytes that aren't UTF-8 become U+FFFD.
  std::string dump(int indent = 0) const;

 private:
  void dump_to(std::string& out, int indent, int depth) const;

  std::variant<std::monostate, bool, int64_t, double, std::string, List, Object> value_;
};

// Appends the text as a JSON string, quotes included.
void append_json_string(std::string& out, std::string_view text);

}  // namespace millrace::tools
