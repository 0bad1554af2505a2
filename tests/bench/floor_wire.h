// The floor's share of the Kafka protocol, by hand: Produce 12, Fetch 12 and OffsetCommit 9 as the raw
// clients send them.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "protocol/bytes.h"

namespace millrace::bench {

inline constexpr int16_t kProduce = 0;
inline constexpr int16_t kFetch = 1;
inline constexpr int16_t kVersion = 12;
inline constexpr int16_t kOffsetCommit = 8;
inline constexpr int16_t kCommitVersion = 9;

// Reads values from the front of a frame; throws std::runtime_error when it ends early.
class WireReader {
 public:
  explicit WireReader(MutableBytes bytes) : rest_(bytes) {}
  int64_t integer(size_t size);
  int8_t int8() { return static_cast<int8_t>(integer(1)); }
  int16_t int16() { return static_cast<int16_t>(integer(2)); }
  int32_t int32() { return static_cast<int32_t>(integer(4)); }
  int64_t int64() { return integer(8); }
  uint32_t uvarint();
  // A compact length: one less than what is written; null counts as empty.
  uint32_t length() {
    const uint32_t written = uvarint();
    return written == 0 ? 0 : written - 1;
  }
  MutableBytes bytes(size_t size);
  std::string_view text() {
    const MutableBytes found = bytes(length());
    return {reinterpret_cast<const char*>(found.data()), found.size()};
  }
  void skip_tags();

 private:
  MutableBytes rest_;
};

class WireWriter {
 public:
  // Appends to `out`.
  explicit WireWriter(Buffer& out) : out_(out) {}
  void integer(int64_t value, size_t size);
  void int8(int8_t value) { integer(value, 1); }
  void int16(int16_t value) { integer(value, 2); }
  void int32(int32_t value) { integer(value, 4); }
  void int64(int64_t value) { integer(value, 8); }
  void uvarint(uint32_t value);
  void length(size_t value) { uvarint(static_cast<uint32_t>(value) + 1); }
  void text(std::string_view value);
  void no_tags() { uvarint(0); }

 private:
  Buffer& out_;
};

// The few fields of a record batch that a broker can't do without.
struct BatchFields {
  size_t size = 0;  // header included
  int32_t records = 0;
};

// Checks length, format and CRC-32C of the one batch in `batch`; throws std::runtime_error.
BatchFields check_batch(Bytes batch);
void write_base_offset(MutableBytes batch, int64_t offset);

}  // namespace millrace::bench
