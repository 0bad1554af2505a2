// A log line that strangers can cause: at most so many per second, and the number of those left out is told
// with the next one that is written.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "broker/runtime/clock.h"
#include "broker/runtime/logging.h"

namespace millrace::runtime {

// One per kind of message, usually a constant with static storage. Thread safe.
class RateLimitedLog {
 public:
  static constexpr uint32_t kDefaultLinesPerSecond = 5;

  explicit RateLimitedLog(LogLevel level, uint32_t lines_per_second = kDefaultLinesPerSecond)
      : level_(level), lines_per_second_(lines_per_second) {}

  template <class... Args>
  void write(const Clock& clock, fmt::format_string<Args...> format, Args&&... args) {
    if (!log_enabled(level_)) return;
    const std::optional<uint64_t> left_out = admit(clock.monotonic_ns());
    if (!left_out) return;
    std::string line = fmt::format(format, std::forward<Args>(args)...);
    if (*left_out > 0) line += fmt::format(" ({} more lines like this were left out)", *left_out);
    detail::write_log(level_, line);
  }

  // Whether a line may be written now: how many were left out since the last one, or nothing (and it counts
  // as left out).
  std::optional<uint64_t> admit(int64_t now_ns);

 private:
  const LogLevel level_;
  const uint32_t lines_per_second_;
  std::atomic<int64_t> window_start_ns_ = 0;
  std::atomic<uint32_t> written_ = 0;
  std::atomic<uint64_t> left_out_ = 0;
};

}  // namespace millrace::runtime
