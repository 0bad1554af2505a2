#include "broker/runtime/rate_limited_log.h"

namespace millrace::runtime {

std::optional<uint64_t> RateLimitedLog::admit(int64_t now_ns) {
  constexpr int64_t kWindowNs = 1'000'000'000;
  int64_t start_ns = window_start_ns_.load(std::memory_order_relaxed);
  if (start_ns == 0 || now_ns - start_ns >= kWindowNs) {
    // Whoever wins opens the window; a line more or less at its edge doesn't matter.
    if (window_start_ns_.compare_exchange_strong(start_ns, now_ns)) written_.store(0);
  }
  if (written_.fetch_add(1) >= lines_per_second_) {
    left_out_.fetch_add(1);
    return std::nullopt;
  }
  return left_out_.exchange(0);
}

}  // namespace millrace::runtime
