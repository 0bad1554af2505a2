// Produces as fast as the broker acknowledges: so many connections, each with so many requests in flight.
#pragma once

#include "tests/bench/frames.h"
#include "tests/bench/load.h"

namespace millrace::bench {

struct ProduceOptions : LoadOptions {
  BatchShape shape;
  // Requests of one connection that wait for their answer.
  size_t depth = 5;
  // Each request has one batch for each of so many partitions; the next request is for the next ones.
  int32_t partitions_per_request = 1;
  bool idempotent = false;
};

// Throws std::runtime_error when a request is refused.
LoadResult run_produce(const ProduceOptions& options);

}  // namespace millrace::bench
