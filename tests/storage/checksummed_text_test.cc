#include "storage/checksummed_text.h"

#include <catch2/catch.hpp>

namespace millrace::storage {
namespace {

TEST_CASE("Any flipped bit of a checksummed text is noticed, and any end that is missing") {
  for (const std::string text : {"", "version 1\nlog_start_offset 10000\n"}) {
    const std::string stored = with_checksum(text);
    CHECK(without_checksum(stored) == text);
    for (size_t i = 0; i < stored.size() * 8; ++i) {
      std::string damaged = stored;
      damaged[i / 8] = static_cast<char>(damaged[i / 8] ^ (1 << i % 8));
      CHECK_FALSE(without_checksum(damaged));
    }
    for (size_t size = 0; size < stored.size(); ++size) CHECK_FALSE(without_checksum(stored.substr(0, size)));
  }
}

}  // namespace
}  // namespace millrace::storage
