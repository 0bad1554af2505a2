#include "tests/bench/floor_wire.h"

#include <cstring>

#include "protocol/crc32c.h"

namespace millrace::bench {
namespace {

constexpr size_t kLengthAt = 8;
constexpr size_t kMagicAt = 16;
constexpr size_t kCrcAt = 17;
constexpr size_t kCheckedFrom = 21;
constexpr size_t kRecordCountAt = 57;
constexpr size_t kHeaderSize = 61;

int64_t big_endian(Bytes bytes) {
  uint64_t value = 0;
  for (const std::byte byte : bytes) value = value << 8 | std::to_integer<uint64_t>(byte);
  const size_t unused = 64 - 8 * bytes.size();
  return static_cast<int64_t>(value << unused) >> unused;
}

}  // namespace

int64_t WireReader::integer(size_t size) { return big_endian(bytes(size)); }

uint32_t WireReader::uvarint() {
  uint32_t value = 0;
  for (int shift = 0; shift < 35; shift += 7) {
    const auto byte = static_cast<uint8_t>(int8());
    value |= static_cast<uint32_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  throw std::runtime_error("a number is too long");
}

MutableBytes WireReader::bytes(size_t size) {
  if (rest_.size() < size) throw std::runtime_error("a request ends early");
  const MutableBytes found = rest_.first(size);
  rest_ = rest_.subspan(size);
  return found;
}

void WireReader::skip_tags() {
  for (uint32_t left = uvarint(); left > 0; --left) {
    uvarint();
    bytes(uvarint());
  }
}

void WireWriter::integer(int64_t value, size_t size) {
  for (size_t i = size; i-- > 0;) out_.push_back(static_cast<std::byte>(value >> (8 * i)));
}

void WireWriter::uvarint(uint32_t value) {
  for (; value >= 0x80; value >>= 7) out_.push_back(static_cast<std::byte>(value | 0x80));
  out_.push_back(static_cast<std::byte>(value));
}

void WireWriter::text(std::string_view value) {
  length(value.size());
  const Bytes bytes = as_bytes(value);
  out_.insert(out_.end(), bytes.begin(), bytes.end());
}

BatchFields check_batch(Bytes batch) {
  if (batch.size() < kHeaderSize || batch[kMagicAt] != std::byte{2}) throw std::runtime_error("no batch");
  if (kMagicAt - 4 + static_cast<size_t>(big_endian(batch.subspan(kLengthAt, 4))) != batch.size()) {
    throw std::runtime_error("not exactly one batch");
  }
  const auto stored = static_cast<uint32_t>(big_endian(batch.subspan(kCrcAt, 4)));
  if (protocol::crc32c(batch.subspan(kCheckedFrom)) != stored) throw std::runtime_error("a batch is damaged");
  return {.size = batch.size(),
          .records = static_cast<int32_t>(big_endian(batch.subspan(kRecordCountAt, 4)))};
}

void write_base_offset(MutableBytes batch, int64_t offset) {
  for (size_t i = 0; i < 8; ++i) batch[i] = static_cast<std::byte>(offset >> (8 * (7 - i)));
}

}  // namespace millrace::bench
