#include "protocol/uuid.h"

#include <bit>
#include <cstring>

namespace millrace {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr size_t kTextSize = 22;

}  // namespace

Uuid Uuid::from_random(uint64_t high, uint64_t low) {
  // RFC 9562: version 4 in the high half, variant 10 in the low half.
  high = (high & ~uint64_t{0xf000}) | 0x4000;
  low = (low & ~(uint64_t{3} << 62)) | (uint64_t{2} << 62);
  Uuid id;
  for (int i = 0; i < 8; ++i) {
    id.bytes[i] = static_cast<std::byte>(high >> (56 - 8 * i));
    id.bytes[8 + i] = static_cast<std::byte>(low >> (56 - 8 * i));
  }
  return id;
}

std::optional<Uuid> Uuid::parse(std::string_view text) {
  if (text.size() != kTextSize) return std::nullopt;
  Uuid id;
  uint32_t bits = 0;
  int bit_count = 0;
  size_t out = 0;
  for (char c : text) {
    const size_t digit = kAlphabet.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    bit_count += 6;
    if (bit_count >= 8) {
      bit_count -= 8;
      id.bytes[out++] = static_cast<std::byte>(bits >> bit_count);
    }
  }
  // The last character carries four bits beyond the 128; another value than zero is not our writing.
  if ((bits & 0xf) != 0) return std::nullopt;
  return id;
}

std::string Uuid::to_string() const {
  std::string text;
  text.reserve(kTextSize);
  uint32_t bits = 0;
  int bit_count = 0;
  for (std::byte b : bytes) {
    bits = bits << 8 | std::to_integer<uint32_t>(b);
    bit_count += 8;
    while (bit_count >= 6) {
      bit_count -= 6;
      text += kAlphabet[bits >> bit_count & 0x3f];
    }
  }
  text += kAlphabet[bits << (6 - bit_count) & 0x3f];
  return text;
}

}  // namespace millrace

size_t std::hash<millrace::Uuid>::operator()(const millrace::Uuid& id) const noexcept {
  uint64_t half[2];
  std::memcpy(half, id.bytes.data(), sizeof half);
  return half[0] ^ std::rotl(half[1], 29) * 0x9e3779b97f4a7c15u;
}
