// Where records come from, one after the other.
#pragma once

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
};

}  // namespace millrace::tools
