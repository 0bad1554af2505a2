// Committed positions: as fast as the broker acknowledges them, a million of them to start with, and how long
// until all of those can be fetched.
#pragma once

#include <string>

#include "tests/bench/load.h"

namespace millrace::bench {

// `partitions` of the topic are committed with every request.
struct CommitOptions : LoadOptions {
  size_t groups = 100;  // named "<prefix>-0" and so on; their clients are no members
  std::string prefix = "bench";
  size_t depth = 1;                 // requests of each connection that wait for their answer
  bool awaits_coordinators = true;  // before the first commit; the floor has none
};

// Records are positions, bytes those of the requests. Throws std::runtime_error when a commit is refused.
LoadResult run_commits(const CommitOptions& options);

// Commits once for every group: partition p of group g gets the position g * partitions + p.
void fill_positions(const CommitOptions& options);

// Fetches the positions that fill_positions has left, of all groups, for as long as it takes to get them.
// Returns when the last came, in ns of CLOCK_MONOTONIC. Throws std::runtime_error when one is another.
int64_t await_positions(const CommitOptions& options);

}  // namespace millrace::bench
