// Latency from the moment a record should have been sent to the moment its consumer has it. A producer at a
// fixed rate and long-polling consumers in one process, each with a connection of its own.
#pragma once

#include "tests/bench/load.h"

namespace millrace::bench {

struct EndToEndOptions : LoadOptions {
  int64_t rate = 1000;  // records a second
  size_t record_bytes = 1024;
  // Requests that wait for their answer; records that come due meanwhile share the next batch, as with
  // Kafka's producer without linger.
  size_t depth = 5;
  size_t readers = 1;  // each reads everything
  // Whether each reader is a group, which commits its position once a second, over a connection for all.
  bool commits = false;
};

// A record that is late because the broker was slow counts from when it was due: the latencies have no
// coordinated omission. Throws std::runtime_error when something is refused or missing.
LoadResult run_end_to_end(const EndToEndOptions& options);

}  // namespace millrace::bench
