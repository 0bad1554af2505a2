// Consumes as fast as the broker serves: each connection is a reader of its own, that reads all partitions
// from the first record to the last, over and over.
#pragma once

#include "tests/bench/load.h"

namespace millrace::bench {

// Every batch's place is checked against the one before it, its contents are discarded. Throws
// std::runtime_error when something is refused, missing or out of order. With `once` it stops when every
// reader has read everything, whatever the times say.
LoadResult run_consume(const LoadOptions& options, bool once);

}  // namespace millrace::bench
