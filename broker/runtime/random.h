// Randomness, passed in: everything follows from the seed, so that a simulated run can be repeated.
// Not for secrets.
#pragma once

#include <array>
#include <cstdint>

#include "protocol/uuid.h"

namespace millrace::runtime {

// xoshiro256**, seeded by splitmix64. Not thread safe: each shard has its own.
class Random {
 public:
  explicit Random(uint64_t seed);

  uint64_t next();
  // Evenly from [0, bound); bound must not be 0.
  uint64_t below(uint64_t bound);
  // Evenly from [0, 1).
  double unit();
  // A version 4 UUID; never all zeros.
  Uuid uuid();

  // From the operating system: a seed for the broker itself, or 64 bits of a secret.
  static uint64_t system_seed();

 private:
  std::array<uint64_t, 4> state_;
};

}  // namespace millrace::runtime
