// Time, passed in: the real clock in the broker, one that only a test moves in tests and simulation.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

namespace millrace::runtime {

inline constexpr int64_t kNanosPerMs = 1'000'000;
// A deadline that never comes.
inline constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

// May be read from every thread.
class Clock {
 public:
  virtual ~Clock() = default;
  // Wall clock, ms since 1970 UTC: for record timestamps and retention. May jump in both directions.
  virtual int64_t now_ms() const = 0;
  // Never goes back: for deadlines and durations. Nanoseconds from an arbitrary start.
  virtual int64_t monotonic_ns() const = 0;

  // The deadline that lies this far ahead; kNever for a negative delay or one past the end of time.
  int64_t deadline_in_ms(int64_t delay_ms) const;
};

class SystemClock final : public Clock {
 public:
  int64_t now_ms() const override;
  int64_t monotonic_ns() const override;
  // The one instance; it has no state.
  static const SystemClock& instance();
};

// A clock that stands still until a test moves it.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(int64_t now_ms = 1'700'000'000'000) : wall_ms_(now_ms) {}
  int64_t now_ms() const override { return wall_ms_; }
  int64_t monotonic_ns() const override { return monotonic_ns_; }
  void advance_ms(int64_t ms) {
    wall_ms_ += ms;
    monotonic_ns_ += ms * kNanosPerMs;
  }
  // Moves the wall clock alone, as an operator or NTP would.
  void set_wall_ms(int64_t now_ms) { wall_ms_ = now_ms; }

 private:
  std::atomic<int64_t> wall_ms_;
  std::atomic<int64_t> monotonic_ns_ = 1;
};

}  // namespace millrace::runtime
