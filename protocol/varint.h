// Variable-length integers: seven bits a byte, least significant first, the top bit says that more follow.
#pragma once

#include <cstddef>
#include <cstdint>

namespace millrace::protocol {

constexpr size_t kMaxVarint32Size = 5;
constexpr size_t kMaxVarint64Size = 10;

// Zigzag maps small numbers of either sign to small unsigned ones: 0, -1, 1, -2 to 0, 1, 2, 3.
constexpr uint32_t zigzag(int32_t value) {
  return static_cast<uint32_t>(value) << 1 ^ static_cast<uint32_t>(value >> 31);
}
constexpr uint64_t zigzag(int64_t value) {
  return static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63);
}
constexpr int32_t unzigzag(uint32_t value) { return static_cast<int32_t>(value >> 1 ^ (0u - (value & 1))); }
constexpr int64_t unzigzag(uint64_t value) { return static_cast<int64_t>(value >> 1 ^ (0ull - (value & 1))); }

constexpr size_t varint_size(uint64_t value) {
  size_t size = 1;
  while (value >>= 7) ++size;
  return size;
}

// Writes at `out`, which must have room for varint_size(value); returns the position after it.
inline std::byte* write_varint(std::byte* out, uint64_t value) {
  while (value >= 0x80) {
    *out++ = static_cast<std::byte>(value | 0x80);
    value >>= 7;
  }
  *out++ = static_cast<std::byte>(value);
  return out;
}

// Reads from [in, end); returns the position after it, or nullptr when the bytes end early or the number
// has more bits than Unsigned (uint32_t or uint64_t). A longer than necessary spelling is accepted.
template <class Unsigned>
inline const std::byte* read_varint(const std::byte* in, const std::byte* end, Unsigned& value) {
  constexpr int kBits = sizeof(Unsigned) * 8;
  Unsigned result = 0;
  for (int shift = 0; shift < kBits; shift += 7) {
    if (in == end) return nullptr;
    const auto byte = static_cast<Unsigned>(*in++);
    const Unsigned digits = byte & 0x7f;
    if (shift + 7 > kBits && (digits >> (kBits - shift)) != 0) return nullptr;
    result |= digits << shift;
    if ((byte & 0x80) == 0) {
      value = result;
      return in;
    }
  }
  return nullptr;
}

}  // namespace millrace::protocol
