// What a coordinator needs of the partition that it keeps its state in. partition_log.h implements it over
// replication::Partition; tests do in memory.
#pragma once

#include <cstdint>
#include <functional>

#include "broker/runtime/task.h"
#include "protocol/bytes.h"
#include "protocol/result.h"

namespace millrace::coordinator {

using BatchReader = std::function<Result<>(Bytes batch)>;

// Lives on the partition's shard, as its coordinator does.
class CoordinatorLog {
 public:
  virtual ~CoordinatorLog() = default;

  // Calls `fn` with every record batch from the log's start to its end, in order, and returns the end
  // (exclusive). All of it counts as committed. Nobody appends meanwhile. Errors: the log's; those that `fn`
  // returns end the reading.
  virtual runtime::Task<Result<int64_t>> read_all(const BatchReader& fn) = 0;

  // Appends one batch, which is patched in place, and returns the offset of its first record. It may not be
  // committed yet. The batch is one that a protocol::BatchBuilder has just made, uncompressed, each record
  // with a key and the same timestamp: its records aren't checked.
  virtual Result<int64_t> append(MutableBytes batch, int64_t now_ms) = 0;

  // What append() takes at most.
  virtual size_t max_batch_bytes() const = 0;

  // Returns once everything before `end_offset` is committed. An error says that the partition is not led
  // here any more, or is broken: the coordinator can't go on.
  virtual runtime::Task<Result<>> wait_committed(int64_t end_offset) = 0;
};

}  // namespace millrace::coordinator
