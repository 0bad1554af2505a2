// Encodes messages: appends to a buffer of its own, and is the visitor that writes a struct's fields.
#pragma once

#include <bit>
#include <cassert>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/defaults.h"
#include "protocol/field.h"
#include "protocol/records.h"
#include "protocol/result.h"
#include "protocol/varint.h"

namespace millrace::protocol {

class Writer {
 public:
  // `reserve` in bytes spares the growing where the size is about known.
  explicit Writer(size_t reserve = 256) { out_.resize(reserve); }

  // All that was written; the writer is empty afterwards, its splices stay until the next message.
  Buffer take();
  // Forgets all that was written, and keeps its memory.
  void clear() {
    size_ = 0;
    splices_.clear();
  }
  // Of memory that it holds.
  size_t capacity_bytes() const { return out_.capacity(); }
  // Where bytes from files belong, in order of position.
  std::span<const Splice> splices() const { return splices_; }
  // Bytes written so far, without what the splices stand for.
  size_t size() const { return size_; }
  Bytes written() const { return {out_.data(), size_}; }
  // What the network sends: size() and the bytes of all splices.
  uint64_t size_with_splices() const;
  // Puts a number at a place already written, e.g. the frame's length when it is known.
  void patch_int32(size_t at, int32_t value);

  template <class Integer>
  void integer(Integer value) {
    using Unsigned = std::make_unsigned_t<Integer>;
    auto bits = static_cast<Unsigned>(value);
    if constexpr (sizeof bits > 1 && std::endian::native == std::endian::little) bits = std::byteswap(bits);
    std::memcpy(grow(sizeof bits), &bits, sizeof bits);
  }
  void uvarint(uint32_t value) {
    if (value < 0x80) {
      *grow(1) = static_cast<std::byte>(value);
    } else {
      long_uvarint(value);
    }
  }
  void append(Bytes bytes);

  // Between begin and end the writer is a visitor for one message. end() returns what could not be written:
  // a value that this version has no place for and that must not be dropped, null where it isn't legal, a
  // string of more than 32767 bytes. What was written of the message is then taken back.
  void begin(int16_t version, bool flexible);
  Result<> end();

  template <class T, class Default>
  [[gnu::always_inline]] void field(const T& value, const Field& field, const Default& expected) {
    if (field.versions.contains(version_)) {
      name_ = field.name;
      write(value, field.nullable.contains(version_));
    } else if (!field.ignorable && !is_default(value, expected)) {
      fail(field.name, "has a value that this version can't carry");
    }
  }

  template <class Each>
  void tags(Each&& each) {
    TagCounter counter{*this};
    each(counter);
    if (!flexible_) return;
    uvarint(counter.count);
    if (counter.count == 0) return;
    TagWriter writer{*this};
    each(writer);
  }

 private:
  struct TagCounter {
    Writer& writer;
    uint32_t count = 0;
    template <class T, class Default>
    void field(uint32_t, const T& value, const Field& field, const Default& expected) {
      if (is_default(value, expected)) return;
      if (field.versions.contains(writer.version_)) {
        ++count;
      } else if (!field.ignorable) {
        writer.fail(field.name, "has a value that this version can't carry");
      }
    }
  };
  struct TagWriter {
    Writer& writer;
    template <class T, class Default>
    void field(uint32_t tag, const T& value, const Field& field, const Default& expected) {
      if (!field.versions.contains(writer.version_) || is_default(value, expected)) return;
      writer.uvarint(tag);
      const size_t start = writer.size_;
      writer.name_ = field.name;
      writer.write_tagged(value, field);
      writer.put_size_before(start);
    }
  };

  template <class T>
  void write_tagged(const T& value, const Field& field) {
    write(value, field.nullable.contains(version_));
  }
  // See Reader::read_tagged.
  template <class Struct>
  requires std::is_aggregate_v<Struct>
  void write_tagged(const std::optional<Struct>& value, const Field&) {
    uvarint(value ? 1 : 0);
    if (value) write(*value, false);
  }

  void write(bool value, bool) { integer<int8_t>(value ? 1 : 0); }
  template <class Integer>
  requires std::is_integral_v<Integer>
  void write(Integer value, bool) { integer(value); }
  void write(double value, bool) { integer(std::bit_cast<uint64_t>(value)); }
  void write(ErrorCode value, bool) { integer(static_cast<int16_t>(value)); }
  void write(const Uuid& value, bool) { append(value.bytes); }
  void write(std::string_view value, bool);
  void write(Bytes value, bool);
  void write(const Records& value, bool nullable);
  void write(const std::optional<std::string_view>& value, bool nullable) {
    if (value) return write(*value, false);
    write_null(nullable);
    flexible_ ? uvarint(0) : integer<int16_t>(-1);
  }
  void write(const std::optional<Bytes>& value, bool nullable) {
    if (value) return write(*value, false);
    write_null(nullable);
    write_length(-1);
  }
  template <class T>
  void write(const Array<T>& value, bool) {
    write_length(static_cast<int64_t>(value.size()));
    for (const T& element : value) write(element, false);
  }
  template <class T>
  void write(const std::optional<Array<T>>& value, bool nullable) {
    if (value) return write(*value, false);
    write_null(nullable);
    write_length(-1);
  }
  template <class T>
  void write(const std::optional<T>& value, bool nullable) {
    if (!value) write_null(nullable);
    if (nullable) integer<int8_t>(value ? 1 : -1);
    if (value) write(*value, false);
  }
  template <class Struct>
  requires std::is_class_v<Struct>
  void write(const Struct& value, bool) { visit(*this, value, Tag<Struct>{}); }

  // Room for `size` more bytes, counted as written.
  std::byte* grow(size_t size) {
    if (out_.size() - size_ < size) enlarge(size);
    std::byte* place = out_.data() + size_;
    size_ += size;
    return place;
  }
  void enlarge(size_t size);
  void long_uvarint(uint32_t value);
  void fail(const char* name, const char* what);
  void write_null(bool nullable) {
    if (!nullable) fail(name_, "is null, which this version doesn't allow");
  }
  // The length of bytes, records or an array; -1 is null.
  void write_length(int64_t length);
  // Inserts before `start` how many bytes follow it.
  void put_size_before(size_t start);

  // Longer than what is written: growing by doubling is one comparison per value.
  Buffer out_;
  size_t size_ = 0;
  std::vector<Splice> splices_;
  const char* wrong_ = nullptr;
  const char* wrong_name_ = "";
  const char* name_ = "";
  size_t message_start_ = 0;
  bool taken_ = false;
  int16_t version_ = 0;
  bool flexible_ = false;
};

}  // namespace millrace::protocol
