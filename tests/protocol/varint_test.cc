#include "protocol/varint.h"

#include <array>
#include <catch2/catch.hpp>
#include <random>

using namespace millrace::protocol;

namespace {

template <class Unsigned>
void check_round_trip(Unsigned value) {
  std::array<std::byte, kMaxVarint64Size> bytes{};
  const std::byte* end = write_varint(bytes.data(), value);
  const auto size = static_cast<size_t>(end - bytes.data());
  REQUIRE(size == varint_size(value));
  Unsigned back = 0;
  REQUIRE(read_varint(bytes.data(), end, back) == end);
  REQUIRE(back == value);
  // One byte too few, at every length.
  for (size_t cut = 0; cut < size; ++cut)
    REQUIRE(read_varint(bytes.data(), bytes.data() + cut, back) == nullptr);
}

}  // namespace

TEST_CASE("varints of every length, and the numbers next to each step") {
  for (int bit = 0; bit < 64; ++bit) {
    for (int64_t off : {-1, 0, 1}) {
      const uint64_t value = (uint64_t{1} << bit) + static_cast<uint64_t>(off);
      check_round_trip(value);
      if (bit < 32) check_round_trip(static_cast<uint32_t>(value));
    }
  }
  check_round_trip(UINT64_MAX);
  check_round_trip(UINT32_MAX);
  CHECK(varint_size(127) == 1);
  CHECK(varint_size(128) == 2);
  CHECK(varint_size(UINT32_MAX) == kMaxVarint32Size);
  CHECK(varint_size(UINT64_MAX) == kMaxVarint64Size);
}

TEST_CASE("zigzag keeps small numbers small, of either sign") {
  CHECK(zigzag(int32_t{0}) == 0);
  CHECK(zigzag(int32_t{-1}) == 1);
  CHECK(zigzag(int32_t{1}) == 2);
  CHECK(zigzag(INT32_MAX) == UINT32_MAX - 1);
  CHECK(zigzag(INT32_MIN) == UINT32_MAX);
  CHECK(zigzag(INT64_MIN) == UINT64_MAX);
  std::mt19937_64 random(1);
  for (int round = 0; round < 1000; ++round) {
    const auto wide = static_cast<int64_t>(random() >> random() % 64);
    CHECK(unzigzag(zigzag(wide)) == wide);
    CHECK(unzigzag(zigzag(-wide)) == -wide);
    CHECK(unzigzag(zigzag(static_cast<int32_t>(wide))) == static_cast<int32_t>(wide));
  }
}

TEST_CASE("a varint with too many bytes is none") {
  std::array<std::byte, 12> bytes;
  bytes.fill(std::byte{0x80});
  uint32_t narrow = 0;
  uint64_t wide = 0;
  CHECK(read_varint(bytes.data(), bytes.data() + bytes.size(), narrow) == nullptr);
  CHECK(read_varint(bytes.data(), bytes.data() + bytes.size(), wide) == nullptr);
  bytes[5] = std::byte{0};  // the sixth byte: one too many for 32 bits
  CHECK(read_varint(bytes.data(), bytes.data() + bytes.size(), narrow) == nullptr);
  CHECK(read_varint(bytes.data(), bytes.data() + bytes.size(), wide) == bytes.data() + 6);
  bytes[4] = std::byte{0};  // longer than it need be, but not too long
  CHECK(read_varint(bytes.data(), bytes.data() + bytes.size(), narrow) == bytes.data() + 5);
}
