// 128-bit identifiers, as Kafka uses them for topics and clusters.
#pragma once

#include <array>
#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace millrace {

struct Uuid {
  std::array<std::byte, 16> bytes{};

  // Makes a version 4 UUID of 128 random bits.
  static Uuid from_random(uint64_t high, uint64_t low);
  // Reads the 22 characters of base64url without padding that to_string writes; nothing for any other text.
  static std::optional<Uuid> parse(std::string_view text);

  std::string to_string() const;
  // All zeros: on the wire, "none".
  bool is_zero() const { return *this == Uuid{}; }

  auto operator<=>(const Uuid&) const = default;
  // Of std::byte the compiler would compare one at a time.
  constexpr bool operator==(const Uuid& other) const {
    using Halves = std::array<uint64_t, 2>;
    return std::bit_cast<Halves>(bytes) == std::bit_cast<Halves>(other.bytes);
  }
};

}  // namespace millrace

template <>
struct std::hash<millrace::Uuid> {
  size_t operator()(const millrace::Uuid& id) const noexcept;
};
