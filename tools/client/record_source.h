// Where records come from, one after the other.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "protocol/result.h"
#include "tools/record.h"

namespace millrace::tools {

class RecordSource {
 public:
  virtual ~RecordSource() = default;

  // The next record; null when none came within `wait_ms`, or when finished. Valid until the next call.
  virtual Result<const ConsumedRecord*> next(int64_t wait_ms) = 0;
  virtual bool finished() const = 0;
  // Says that everything that next() has returned so far is done with. To be called every second or so.
  virtual Result<void> done_with_all() { return {}; }

  // For who needs longer with what next() has returned than until it may call done_with_all().
  //
  // In how many milliseconds keep_up() is due; nothing: there is never anything to keep up with.
  virtual std::optional<int64_t> due_in_ms() const { return std::nullopt; }
  // Does what can't wait, and returns the partitions whose records are somebody else's by now, as far as
  // done_with() wasn't called for them: drop these. A partition that is there may be this source's own again,
  // and then those records come again.
  virtual Result<std::vector<int32_t>> keep_up() { return std::vector<int32_t>{}; }
  // Says that the partition's records before `next_offset` are done with.
  virtual void done_with(int32_t partition, int64_t next_offset) {
    static_cast<void>(partition);
    static_cast<void>(next_offset);
  }
};

}  // namespace millrace::tools
