#include "protocol/arena.h"

#include <catch2/catch.hpp>
#include <cstdint>
#include <numeric>
#include <vector>

using namespace millrace;

TEST_CASE("what an arena has handed out lives as long as it does, wherever it is moved") {
  Arena first;
  std::vector<Array<uint64_t>> arrays;
  const auto fill = [&](Arena& arena) {
    for (size_t size = 1; size < 20'000; size = size * 3 / 2 + 1) {
      arrays.push_back(arena.make_array<uint64_t>(size));
      std::iota(arrays.back().begin(), arrays.back().end(), size);
    }
  };
  fill(first);
  const size_t used = first.used();
  Arena second(std::move(first));
  CHECK(second.used() == used);
  fill(second);
  Arena third(10);
  third.make_array<uint64_t>(100);
  third = std::move(second);
  fill(third);
  for (const auto& array : arrays) {
    uint64_t expected = array.size();
    for (const uint64_t number : array) REQUIRE(number == expected++);
  }
}

TEST_CASE("an arena aligns what it hands out") {
  Arena arena;
  for (int i = 0; i < 2000; ++i) {
    arena.copy(std::string_view("abc"));
    const auto numbers = arena.make_array<uint64_t>(3);
    REQUIRE(reinterpret_cast<uintptr_t>(numbers.data()) % alignof(uint64_t) == 0);
  }
}

TEST_CASE("an arena refuses what a peer asks for above its limits, and never what is our own") {
  Arena arena(100, 10);
  CHECK(arena.try_make_array<uint64_t>(8));
  CHECK_FALSE(arena.refused());
  CHECK_FALSE(arena.try_make_array<uint64_t>(8));  // 128 bytes
  CHECK(arena.refused());
  CHECK_FALSE(arena.try_make_array<uint8_t>(3));  // 11 elements
  CHECK(arena.make_array<uint64_t>(1000).size() == 1000);
}
