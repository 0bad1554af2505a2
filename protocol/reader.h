// Decodes messages: a cursor over the bytes of one message, and the visitor that fills a struct from it.
//
// Every length and count is checked against the bytes that are left before anything is allocated. The first
// thing wrong is remembered and ends the reading: from then on ok() is false and all reads give zeros.
#pragma once

#include <bit>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "protocol/arena.h"
#include "protocol/bytes.h"
#include "protocol/error_code.h"
#include "protocol/field.h"
#include "protocol/records.h"
#include "protocol/uuid.h"

namespace millrace::protocol {

class Reader {
 public:
  // Views in what is read point into `in`; arrays are made in `arena`. Both must outlive them.
  Reader(Bytes in, int16_t version, bool flexible, Arena& arena)
      : at_(in.data()),
        end_(in.data() + in.size()),
        begin_(in.data()),
        arena_(arena),
        version_(version),
        flexible_(flexible) {}

  bool ok() const { return wrong_ == nullptr; }
  size_t remaining() const { return static_cast<size_t>(end_ - at_); }
  Bytes rest() const { return {at_, end_}; }
  // What was wrong and where, for the log; empty while ok().
  std::string error() const;
  // Keeps the first call's words. `what` must be a literal.
  void fail(const char* what);

  // The visitor's side: see field.h.
  template <class T, class Default>
  [[gnu::always_inline]] void field(T& value, const Field& field, const Default&) {
    if (field.versions.contains(version_)) read_field(value, field);
  }

  template <class Each>
  void tags(Each&& each) {
    if (!flexible_) return;
    const uint32_t count = uvarint();
    if (count > kMaxTaggedFields) return fail("too many tagged fields");
    int64_t previous = -1;
    for (uint32_t i = 0; i < count && ok(); ++i) {
      const uint32_t tag = uvarint();
      const uint32_t size = uvarint();
      if (tag <= previous) return fail("tagged fields out of order");
      if (size > remaining()) return fail("tagged field longer than the message");
      previous = tag;
      TagReader reader{*this, tag};
      const std::byte* outer = end_;
      end_ = at_ + size;
      each(reader);
      if (!reader.known) at_ = end_;
      if (ok() && at_ != end_) return fail("tagged field longer than its value");
      if (ok()) end_ = outer;
    }
  }

  template <class Integer>
  Integer integer() {
    using Unsigned = std::make_unsigned_t<Integer>;
    if (remaining() < sizeof(Integer)) return fail("ends in the middle of a number"), Integer{0};
    Unsigned value;
    std::memcpy(&value, at_, sizeof value);
    at_ += sizeof value;
    if constexpr (sizeof value > 1) {
      if constexpr (std::endian::native == std::endian::little) value = std::byteswap(value);
    }
    return static_cast<Integer>(value);
  }
  uint32_t uvarint() {
    // Most are sizes of less than 128.
    const bool is_short = at_ != end_ && (*at_ & std::byte{0x80}) == std::byte{0};
    return is_short ? std::to_integer<uint32_t>(*at_++) : long_uvarint();
  }
  // A view of the next `size` bytes; fails when there are fewer.
  Bytes take(size_t size) {
    if (size > remaining()) return fail("length beyond the end of the message"), Bytes{};
    const Bytes taken(at_, size);
    at_ += size;
    return taken;
  }

 private:
  struct TagReader {
    Reader& reader;
    uint32_t tag;
    bool known = false;
    template <class T, class Default>
    void field(uint32_t field_tag, T& value, const Field& field, const Default&) {
      if (field_tag != tag || !field.versions.contains(reader.version_)) return;
      known = true;
      reader.read_tagged(value, field);
    }
  };

  template <class T>
  void read_tagged(T& value, const Field& field) {
    read_field(value, field);
  }
  // Kafka says otherwise than outside of tags whether a struct is there: 0 is null.
  template <class Struct>
  requires std::is_aggregate_v<Struct>
  void read_tagged(std::optional<Struct>& value, const Field& field) {
    name_ = field.name;
    if (uvarint() == 0) {
      value.reset();
    } else {
      read(value.emplace(), false);
    }
  }

  template <class T>
  void read_field(T& value, const Field& field) {
    name_ = field.name;
    read(value, field.nullable.contains(version_));
  }

  void read(bool& value, bool) { value = integer<int8_t>() != 0; }
  template <class Integer>
  requires std::is_integral_v<Integer>
  void read(Integer& value, bool) { value = integer<Integer>(); }
  void read(double& value, bool) { value = std::bit_cast<double>(integer<uint64_t>()); }
  void read(ErrorCode& value, bool) { value = static_cast<ErrorCode>(integer<int16_t>()); }
  void read(Uuid& value, bool);
  void read(std::string_view& value, bool);
  void read(std::optional<std::string_view>& value, bool nullable);
  void read(Bytes& value, bool);
  void read(std::optional<Bytes>& value, bool nullable);
  void read(Records& value, bool nullable) { read(value.bytes, nullable); }

  template <class T>
  void read(Array<T>& value, bool) {
    read_elements(value, array_count());
  }
  template <class T>
  void read(std::optional<Array<T>>& value, bool nullable) {
    const int64_t count = array_count();
    if (count < 0 && nullable) {
      value.reset();
    } else {
      read_elements(value.emplace(), count);
    }
  }
  template <class T>
  void read(std::optional<T>& value, bool nullable) {
    if (nullable && integer<int8_t>() < 0) {
      value.reset();
    } else {
      read(value.emplace(), false);
    }
  }
  template <class Struct>
  requires std::is_class_v<Struct>
  void read(Struct& value, bool) { visit(*this, value, Tag<Struct>{}); }

  // The fewest bytes that one element takes: what bounds an array's count by the bytes left.
  template <class T>
  size_t smallest() const {
    if constexpr (std::is_same_v<T, std::string_view>) {
      return flexible_ ? 1 : 2;
    } else if constexpr (std::is_same_v<T, Bytes>) {
      return flexible_ ? 1 : 4;
    } else if constexpr (std::is_same_v<T, Uuid> || !std::is_class_v<T>) {
      return sizeof(T);
    } else {
      return min_encoded_size(version_, Tag<T>{});
    }
  }

  template <class T>
  void read_elements(Array<T>& value, int64_t count) {
    if (count < 0) return fail("null where an array must be");
    const size_t element_size = smallest<T>();
    if (static_cast<uint64_t>(count) > remaining() / (element_size == 0 ? 1 : element_size)) {
      return fail("array with more elements than the bytes left can hold");
    }
    auto elements = arena_.try_make_array<T>(static_cast<size_t>(count));
    if (!elements) return fail("more elements than a message may have here");
    value = *elements;
    for (T& element : value) {
      read(element, false);
      if (!ok()) return;
    }
  }

  uint32_t long_uvarint();
  // Lengths as encoded, -1 for null.
  int64_t array_count();
  int64_t string_size();
  int64_t bytes_size();

  const std::byte* at_;
  const std::byte* end_;
  const std::byte* begin_;
  Arena& arena_;
  const char* wrong_ = nullptr;
  const char* name_ = "";  // of the field that is read
  const char* wrong_name_ = "";
  size_t wrong_at_ = 0;
  int16_t version_;
  bool flexible_;
};

}  // namespace millrace::protocol
