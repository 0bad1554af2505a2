#include "tests/fuzz/mutator.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace millrace::fuzz {
namespace {

constexpr size_t kMaxChanges = 8;
constexpr size_t kMaxInserted = 16;
constexpr uint64_t kInterestingNumbers[] = {0,
                                            1,
                                            2,
                                            127,
                                            128,
                                            255,
                                            256,
                                            32767,
                                            32768,
                                            65535,
                                            65536,
                                            0x7fffffff,
                                            0x80000000,
                                            0xffffffff,
                                            0x7fffffffffffffff,
                                            0x8000000000000000,
                                            0xffffffffffffffff,
                                            0xfffffffffffffffe};

ptrdiff_t signed_of(size_t at) { return static_cast<ptrdiff_t>(at); }

}  // namespace

void Mutator::mutate(Buffer& input, Bytes other) {
  // Mostly few changes: many at once rarely leave anything valid.
  size_t changes = 1;
  while (changes < kMaxChanges && below(2) == 0) ++changes;
  for (size_t i = 0; i < changes; ++i) mutate_once(input, other);
  if (input.size() > max_size_) input.resize(max_size_);
}

void Mutator::mutate_once(Buffer& input, Bytes other) {
  if (input.empty()) return insert_noise(input);
  switch (below(10)) {
    case 0:
    case 1:
      return flip_bit(input);
    case 2:
      return set_byte(input);
    case 3:
      return add_to_byte(input);
    case 4:
    case 5:
      return set_number(input);
    case 6:
      return insert_noise(input);
    case 7:
      return erase(input);
    case 8:
      return repeat(input);
    default:
      return take_from(input, other);
  }
}

void Mutator::flip_bit(Buffer& input) { input[below(input.size())] ^= static_cast<std::byte>(1 << below(8)); }

void Mutator::set_byte(Buffer& input) { input[below(input.size())] = static_cast<std::byte>(random_()); }

void Mutator::add_to_byte(Buffer& input) {
  auto& byte = input[below(input.size())];
  byte = static_cast<std::byte>(std::to_integer<size_t>(byte) + below(33) - 16);
}

void Mutator::set_number(Buffer& input) {
  const size_t size = std::min(size_t{1} << below(4), input.size());
  uint64_t number = kInterestingNumbers[below(std::size(kInterestingNumbers))];
  if (below(4) == 0) number = input.size() + below(9) - 4;
  // Big endian, the network's order; now and then the other one.
  if (below(4) != 0) number = std::byteswap(number) >> (64 - 8 * size);
  std::memcpy(input.data() + below(input.size() - size + 1), &number, size);
}

void Mutator::insert_noise(Buffer& input) {
  Buffer noise(1 + below(kMaxInserted));
  const bool same = below(2) == 0;
  const auto byte = static_cast<std::byte>(random_());
  for (auto& at : noise) at = same ? byte : static_cast<std::byte>(random_());
  input.insert(input.begin() + signed_of(below(input.size() + 1)), noise.begin(), noise.end());
}

void Mutator::erase(Buffer& input) {
  const size_t at = below(input.size());
  const size_t size =
      1 + below(below(4) == 0 ? input.size() - at : std::min(input.size() - at, kMaxInserted));
  input.erase(input.begin() + signed_of(at), input.begin() + signed_of(at + size));
}

void Mutator::repeat(Buffer& input) {
  const size_t at = below(input.size());
  const Buffer part(input.begin() + signed_of(at),
                    input.begin() + signed_of(at + 1 + below(input.size() - at)));
  if (input.size() + part.size() > max_size_) return;
  input.insert(input.begin() + signed_of(below(input.size() + 1)), part.begin(), part.end());
}

void Mutator::take_from(Buffer& input, Bytes other) {
  if (other.empty()) return;
  const size_t from = below(other.size());
  const Bytes part = other.subspan(from, 1 + below(other.size() - from));
  const size_t at = below(input.size());
  if (below(2) == 0) input.resize(at);  // this one's start, the other's end
  input.insert(input.begin() + signed_of(std::min(at, input.size())), part.begin(), part.end());
}

}  // namespace millrace::fuzz
