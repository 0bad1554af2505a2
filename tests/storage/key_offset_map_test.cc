#include "storage/key_offset_map.h"

#include <catch2/catch.hpp>
#include <string>

namespace millrace::storage {
namespace {

TEST_CASE("The hash is SipHash-2-4 with 128 bits") {
  // Of OpenSSL's `mac -macopt size:16 SipHash`, key and input 00 01 02...
  const HashSecret secret{0x0706050403020100, 0x0f0e0d0c0b0a0908};
  Buffer input;
  const auto grow = [&](size_t size) {
    while (input.size() < size) input.push_back(static_cast<std::byte>(input.size()));
    return hash_key(input, secret);
  };
  CHECK(grow(0) == KeyHash{0xe6a825ba047f81a3, 0x930255c71472f66d});
  CHECK(grow(1) == KeyHash{0x44af996bd8c187da, 0x45fc229b11597634});
  CHECK(grow(8) == KeyHash{0x61f55862baa9623b, 0xb49714f364e2830f});
  CHECK(grow(9) == KeyHash{0xabbad90a06994426, 0xed716dbb028b7fc4});
  CHECK(hash_key(input, {1, 2}) != hash_key(input, {1, 3}));
}

TEST_CASE("A map knows the highest offset of each key") {
  KeyOffsetMap map(1000, size_t{1} << 20, {1, 2});
  CHECK(!map.find(as_bytes("a")));
  CHECK(map.put(as_bytes("a"), 0));
  CHECK(map.find(as_bytes("a")) == 0);
  CHECK(map.put(as_bytes("a"), 7));
  CHECK(map.put(as_bytes("a"), 3));
  CHECK(map.find(as_bytes("a")) == 7);
  CHECK(map.put(as_bytes(""), 9));
  CHECK(map.find(as_bytes("")) == 9);
  CHECK(map.size() == 2);
  CHECK(!map.find(as_bytes("b")));
}

TEST_CASE("A map takes as many keys as its memory has room for, and says so") {
  KeyOffsetMap map(1 << 20, 64 * KeyOffsetMap::kSlotSize, {1, 2});
  CHECK(map.capacity() == 48);
  for (int i = 0; i < 48; ++i) CHECK(map.put(as_bytes(std::to_string(i)), i));
  CHECK(!map.put(as_bytes("one more"), 100));
  CHECK(map.put(as_bytes("5"), 100));
  CHECK(map.find(as_bytes("5")) == 100);
  for (int i = 6; i < 48; ++i) CHECK(map.find(as_bytes(std::to_string(i))) == i);
  CHECK(!map.find(as_bytes("one more")));
  // No more than there can be keys, and some even without memory.
  CHECK(KeyOffsetMap(100, size_t{1} << 30, {1, 2}).capacity() < 300);
  CHECK(KeyOffsetMap(1 << 20, 0, {1, 2}).capacity() >= KeyOffsetMap::kLeastKeys);
}

}  // namespace
}  // namespace millrace::storage
