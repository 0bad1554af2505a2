#include "broker/runtime/clock.h"

#include <chrono>

namespace millrace::runtime {

int64_t Clock::deadline_in_ms(int64_t delay_ms) const {
  const int64_t now_ns = monotonic_ns();
  if (delay_ms < 0 || delay_ms > (kNever - now_ns) / kNanosPerMs) return kNever;
  return now_ns + delay_ms * kNanosPerMs;
}

int64_t SystemClock::now_ms() const {
  const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(since_epoch).count();
}

int64_t SystemClock::monotonic_ns() const {
  const auto since_boot = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(since_boot).count();
}

const SystemClock& SystemClock::instance() {
  static const SystemClock clock;
  return clock;
}

}  // namespace millrace::runtime
