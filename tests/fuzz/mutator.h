// Random changes to an input, the same ones for the same seed.
#pragma once

#include <random>

#include "protocol/bytes.h"

namespace millrace::fuzz {

class Mutator {
 public:
  Mutator(uint64_t seed, size_t max_size) : random_(seed), max_size_(max_size) {}

  // Changes `input` in one to eight ways; `other` gives bytes for some of them. Never beyond the largest
  // size.
  void mutate(Buffer& input, Bytes other);

  // In [0, n); n is at least 1.
  size_t below(size_t n) { return random_() % n; }

 private:
  void mutate_once(Buffer& input, Bytes other);
  void flip_bit(Buffer& input);
  void set_byte(Buffer& input);
  void add_to_byte(Buffer& input);
  void set_number(Buffer& input);
  void insert_noise(Buffer& input);
  void erase(Buffer& input);
  void repeat(Buffer& input);
  void take_from(Buffer& input, Bytes other);

  std::mt19937_64 random_;
  size_t max_size_;
};

}  // namespace millrace::fuzz
