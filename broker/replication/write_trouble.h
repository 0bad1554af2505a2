// Whether records can be written, and what the log is told of it: that the disk is full once when it begins
// and once when it ends, instead of with each request that it fails. A file that the process may not let grow
// any further (RLIMIT_FSIZE) is a full disk, too. Other failures get a few lines a second.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string_view>

#include "broker/runtime/clock.h"
#include "broker/runtime/rate_limited_log.h"
#include "protocol/result.h"

namespace millrace::replication {

// One for all shards. Thread safe.
class WriteTrouble {
 public:
  // The disk has space again once a write succeeds and none has failed for this long: small batches may still
  // fit where large ones don't.
  static constexpr int64_t kQuietMs = 3000;

  // Batches for `log` ("topic-0") could not be written.
  void failed(const runtime::Clock& clock, std::string_view log, const Error& error);
  // Some could. Cheap while there is no trouble.
  void succeeded(const runtime::Clock& clock) {
    if (full_.load(std::memory_order_relaxed)) note_success(clock);
  }

  bool disk_is_full() const { return full_.load(std::memory_order_relaxed); }
  // Batches refused so far because the disk was full.
  int64_t refused() const { return refused_.load(std::memory_order_relaxed); }

 private:
  void note_success(const runtime::Clock& clock);

  runtime::RateLimitedLog other_failures_{runtime::LogLevel::kError};
  std::atomic<bool> full_ = false;
  std::atomic<int64_t> refused_ = 0;
  std::mutex mutex_;
  bool is_limit_ = false;  // not the disk, but a limit of the process
  int64_t began_ns_ = 0;
  int64_t last_failure_ns_ = 0;
  int64_t refused_before_ = 0;
};

}  // namespace millrace::replication
