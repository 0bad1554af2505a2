#include "broker/coordinator/group_partitioning.h"

#include <cstddef>
#include <limits>

namespace millrace::coordinator {
namespace {

constexpr uint32_t kReplacement = 0xFFFD;

struct CodePoint {
  uint32_t value = kReplacement;
  size_t size = 1;
};

bool is_continuation(std::string_view text, size_t at) {
  return at < text.size() && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80;
}

size_t length_from(uint8_t first) {
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first < 0xE0) return 2;
  if (first >= 0xE0 && first < 0xF0) return 3;
  if (first >= 0xF0 && first < 0xF5) return 4;
  return 0;
}

// Too long an encoding, or beyond the last code point: recognizable by the first two bytes.
bool is_bad_start(uint8_t first, uint8_t second) {
  return (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90) ||
         (first == 0xF4 && second >= 0x90);
}

// One code point from the front. What isn't UTF-8 is cut into replacements as Java's decoder does it.
CodePoint read_code_point(std::string_view text) {
  const auto first = static_cast<uint8_t>(text[0]);
  const size_t size = length_from(first);
  if (size == 0) return {};
  if (size == 1) return {first, 1};
  if (text.size() > 1 && is_bad_start(first, static_cast<uint8_t>(text[1]))) return {};
  uint32_t value = first & (0xFFU >> (size + 1));
  for (size_t i = 1; i < size; ++i) {
    if (!is_continuation(text, i)) return {kReplacement, i};
    value = value << 6 | (static_cast<uint8_t>(text[i]) & 0x3FU);
  }
  const bool surrogate = value >= 0xD800 && value < 0xE000;
  return {surrogate ? kReplacement : value, size};
}

}  // namespace

int32_t java_hash(std::string_view text) {
  uint32_t hash = 0;
  while (!text.empty()) {
    const CodePoint point = read_code_point(text);
    text.remove_prefix(point.size);
    if (point.value < 0x10000) {
      hash = hash * 31 + point.value;
    } else {  // two UTF-16 units
      hash = hash * 31 + (0xD800 + ((point.value - 0x10000) >> 10));
      hash = hash * 31 + (0xDC00 + ((point.value - 0x10000) & 0x3FF));
    }
  }
  return static_cast<int32_t>(hash);
}

int32_t partition_of_group(std::string_view group, int32_t count) {
  const int32_t hash = java_hash(group);
  if (hash == std::numeric_limits<int32_t>::min()) return 0;
  return (hash < 0 ? -hash : hash) % count;
}

}  // namespace millrace::coordinator
