// Which edges of the instrumented code the last run took. Without instrumentation there are none.
#pragma once

#include <cstddef>

namespace millrace::fuzz {

// Forgets the last run.
void start_coverage();

// Adds the last run to what is known; returns whether it took an edge, or took one more often, than any
// before.
bool merge_coverage();

// Distinct edges taken so far.
size_t covered_edges();

}  // namespace millrace::fuzz
