// Prints messages as JSON, in the form of Kafka's own request log: the same names, bytes in base64, records
// as their size; tagged fields only where they differ from their default.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "protocol/defaults.h"
#include "protocol/field.h"

namespace millrace::protocol {

class Printer {
 public:
  explicit Printer(int16_t version) : version_(version) {}
  std::string take() { return std::move(out_); }

  template <class Struct>
  void print_struct(const Struct& value) {
    out_ += '{';
    first_ = true;
    visit(*this, value, Tag<Struct>{});
    out_ += '}';
    first_ = false;
  }

  // The visitor's side: see field.h.
  template <class T, class Default>
  void field(const T& value, const Field& field, const Default&) {
    if (!field.versions.contains(version_)) return;
    name(field.name);
    if constexpr (std::is_same_v<T, Records>) rename_records(value);
    out_ += ':';
    print(value);
  }
  template <class T, class Default>
  void field(uint32_t, const T& value, const Field& described, const Default& expected) {
    if (!is_default(value, expected)) field(value, described, expected);
  }
  template <class Each>
  void tags(Each&& each) {
    each(*this);
  }

 private:
  void name(std::string_view name);
  // Kafka prints "recordsSizeInBytes":N, but "records":null.
  void rename_records(const Records& value);
  void print(bool value) { out_ += value ? "true" : "false"; }
  template <class Integer>
  requires std::is_integral_v<Integer>
  void print(Integer value) { out_ += std::to_string(value); }
  void print(double value);
  void print(ErrorCode value) { print(static_cast<int16_t>(value)); }
  void print(const Uuid& value);
  // Control characters are escaped, bytes that aren't UTF-8 become U+FFFD.
  void print(std::string_view value);
  void print(Bytes value);
  void print(const Records& value);
  template <class T>
  void print(const std::optional<T>& value) {
    if (value) {
      print(*value);
    } else {
      out_ += "null";
    }
  }
  template <class T>
  void print(const Array<T>& value) {
    out_ += '[';
    for (size_t i = 0; i < value.size(); ++i) {
      if (i > 0) out_ += ',';
      print(value[i]);
    }
    out_ += ']';
  }
  template <class Struct>
  requires std::is_class_v<Struct>
  void print(const Struct& value) { print_struct(value); }

  std::string out_;
  bool first_ = true;
  int16_t version_;
};

}  // namespace millrace::protocol
