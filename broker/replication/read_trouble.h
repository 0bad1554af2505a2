// What the log is told of records that can't be read: each failure at once, and again every minute while it
// goes on, instead of with each request that it fails.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "broker/runtime/clock.h"
#include "broker/runtime/rate_limited_log.h"
#include "protocol/result.h"

namespace millrace::storage {
class Log;
}

namespace millrace::replication {

// Thread safe.
class ReadTrouble {
 public:
  static constexpr int64_t kRepeatMs = 60'000;
  // Failures that are remembered; with more, all are forgotten, and told anew.
  static constexpr size_t kMostKnown = 1000;

  // The log in `directory` (".../topic-0") could not be read at `offset`, or searched by time (-1). Returns
  // whether this was told: only kKafkaStorageError and kCorruptMessage are, others are answers like any.
  bool failed(const runtime::Clock& clock, const std::string& directory, int64_t offset, const Error& error);

 private:
  struct Known {
    std::optional<int64_t> told_ns;
    uint64_t left_out = 0;
  };

  // Of many logs that fail together, each has its turn.
  runtime::RateLimitedLog lines_{runtime::LogLevel::kError};
  std::mutex mutex_;
  std::map<std::string, Known> known_;  // by log and message
};

// Tells the one of this process, by the clock of the shard that this is called on.
void note_failed_read(const storage::Log& log, int64_t offset, const Error& error);

}  // namespace millrace::replication
