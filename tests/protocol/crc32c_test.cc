#include "protocol/crc32c.h"

#include <catch2/catch.hpp>

using namespace millrace;
using namespace millrace::protocol;

TEST_CASE("CRC-32C has its published values") {
  CHECK(crc32c({}) == 0);
  CHECK(crc32c(as_bytes("123456789")) == 0xe3069283);
  CHECK(crc32c(Buffer(32)) == 0x8a9136aa);
  CHECK(crc32c(Buffer(32, std::byte{0xff})) == 0x62a8ab43);
}

TEST_CASE("a CRC over pieces is that of the whole") {
  const std::string_view text = "the quick brown fox jumps over the lazy dog, again and again and again";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    CHECK(crc32c(as_bytes(text.substr(cut)), crc32c(as_bytes(text.substr(0, cut)))) ==
          crc32c(as_bytes(text)));
  }
}
