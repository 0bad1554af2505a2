// Whether a value is its field's default: such a field may be missing from a version, and a tagged one is
// then not written at all.
#pragma once

#include <optional>
#include <string_view>

#include "protocol/array.h"
#include "protocol/bytes.h"
#include "protocol/error_code.h"
#include "protocol/field.h"
#include "protocol/records.h"
#include "protocol/uuid.h"

namespace millrace::protocol {

class DefaultCheck;

template <class T, class Default>
requires std::is_arithmetic_v<T>
constexpr bool is_default(T value, Default expected) { return value == static_cast<T>(expected); }
inline bool is_default(ErrorCode value, ErrorCode expected) { return value == expected; }
inline bool is_default(const Uuid& value, Empty) { return value.is_zero(); }
inline bool is_default(std::string_view value, std::string_view expected) { return value == expected; }
inline bool is_default(const std::optional<std::string_view>& value, std::string_view expected) {
  return value == expected;
}
inline bool is_default(Bytes value, Empty) { return value.empty(); }
inline bool is_default(const Records& value, std::nullopt_t) { return value.is_null(); }
template <class T>
bool is_default(const Array<T>& value, Empty) {
  return value.empty();
}
template <class T>
bool is_default(const std::optional<T>& value, std::nullopt_t) {
  return !value;
}
template <class T>
bool is_default(const std::optional<T>& value, Empty) {
  return value && is_default(*value, kEmpty);
}
template <class Struct>
requires std::is_class_v<Struct>
bool is_default(const Struct& value, Empty);

// The visitor that looks at each field of a struct.
class DefaultCheck {
 public:
  template <class T, class Default>
  void field(const T& value, const Field&, const Default& expected) {
    all_ = all_ && is_default(value, expected);
  }
  template <class T, class Default>
  void field(uint32_t, const T& value, const Field& described, const Default& expected) {
    field(value, described, expected);
  }
  template <class Each>
  void tags(Each&& each) {
    each(*this);
  }
  bool all() const { return all_; }

 private:
  bool all_ = true;
};

template <class Struct>
requires std::is_class_v<Struct>
bool is_default(const Struct& value, Empty) {
  DefaultCheck check;
  visit(check, value, Tag<Struct>{});
  return check.all();
}

}  // namespace millrace::protocol
