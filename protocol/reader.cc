#include "protocol/reader.h"

#include <fmt/format.h>

#include "protocol/varint.h"

namespace millrace::protocol {

void Reader::fail(const char* what) {
  if (wrong_ != nullptr) return;
  wrong_ = what;
  wrong_name_ = name_;
  wrong_at_ = static_cast<size_t>(at_ - begin_);
  at_ = end_;
}

std::string Reader::error() const {
  if (ok()) return {};
  return fmt::format("{}, at byte {} in or after field {} (version {})", wrong_, wrong_at_, wrong_name_,
                     version_);
}

uint32_t Reader::long_uvarint() {
  uint32_t value = 0;
  const std::byte* after = read_varint(at_, end_, value);
  if (after == nullptr) {
    fail("variable-length number cut off or too large");
    return 0;
  }
  at_ = after;
  return value;
}

int64_t Reader::array_count() { return flexible_ ? int64_t{uvarint()} - 1 : integer<int32_t>(); }

[[gnu::always_inline]] inline int64_t Reader::string_size() {
  const int64_t size = flexible_ ? int64_t{uvarint()} - 1 : integer<int16_t>();
  if (size > kMaxStringSize) {
    fail("string longer than 32767 bytes");
    return 0;
  }
  return size;
}

int64_t Reader::bytes_size() { return flexible_ ? int64_t{uvarint()} - 1 : integer<int32_t>(); }

void Reader::read(Uuid& value, bool) {
  const Bytes bytes = take(value.bytes.size());
  if (!bytes.empty()) std::memcpy(value.bytes.data(), bytes.data(), bytes.size());
}

void Reader::read(std::string_view& value, bool) {
  const int64_t size = string_size();
  if (size < 0) return fail("null where a string must be");
  value = as_text(take(static_cast<size_t>(size)));
}

void Reader::read(std::optional<std::string_view>& value, bool nullable) {
  const int64_t size = string_size();
  if (size >= 0) {
    value = as_text(take(static_cast<size_t>(size)));
  } else if (nullable) {
    value.reset();
  } else {
    fail("null where a string must be");
  }
}

void Reader::read(Bytes& value, bool) {
  const int64_t size = bytes_size();
  if (size < 0) return fail("null where bytes must be");
  value = take(static_cast<size_t>(size));
}

void Reader::read(std::optional<Bytes>& value, bool nullable) {
  const int64_t size = bytes_size();
  if (size >= 0) {
    value = take(static_cast<size_t>(size));
  } else if (nullable) {
    value.reset();
  } else {
    fail("null where bytes must be");
  }
}

}  // namespace millrace::protocol
