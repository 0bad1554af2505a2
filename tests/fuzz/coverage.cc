// GCC calls __sanitizer_cov_trace_pc at each basic block (-fsanitize-coverage=trace-pc). The pair of this
// block and the one before is an edge; its count, rounded down to a power of two, is what makes an input new.
#include "tests/fuzz/coverage.h"

#include <array>
#include <bit>
#include <cstdint>

namespace {

constexpr size_t kMapSize = size_t{1} << 16;
std::array<uint8_t, kMapSize> counts;  // of the current run
std::array<uint8_t, kMapSize> seen;    // bits: the rounded counts of all runs
uintptr_t previous;
size_t edges;

}  // namespace

extern "C" void __sanitizer_cov_trace_pc() {
  // Relative to this function, so that edges are the same wherever the executable was loaded.
  const auto here = reinterpret_cast<uintptr_t>(__builtin_return_address(0)) -
                    reinterpret_cast<uintptr_t>(&__sanitizer_cov_trace_pc);
  constexpr uint64_t kSpread = 0x9e3779b97f4a7c15;
  const size_t edge = ((here ^ previous << 1) * kSpread) >> 48;
  previous = here;
  uint8_t& count = counts[edge];
  if (count != UINT8_MAX) ++count;
}

namespace millrace::fuzz {

void start_coverage() {
  counts.fill(0);
  previous = 0;
}

bool merge_coverage() {
  bool added = false;
  for (size_t edge = 0; edge < kMapSize; ++edge) {
    if (counts[edge] == 0) continue;
    const auto bit = std::bit_floor(counts[edge]);
    if ((seen[edge] & bit) != 0) continue;
    if (seen[edge] == 0) ++edges;
    seen[edge] |= bit;
    added = true;
  }
  return added;
}

size_t covered_edges() { return edges; }

}  // namespace millrace::fuzz
