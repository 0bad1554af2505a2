// A point on the steady clock by which something has to be done.
#pragma once

#include <algorithm>
#include <chrono>
#include <compare>
#include <cstdint>

namespace millrace::tools {

inline int64_t steady_us() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

class Deadline {
 public:
  static Deadline after_ms(int64_t ms) { return Deadline(steady_us() + ms * 1000); }

  // Never below 0.
  int64_t left_ms() const { return std::max<int64_t>(0, (at_us_ - steady_us() + 999) / 1000); }
  bool passed() const { return steady_us() >= at_us_; }
  auto operator<=>(const Deadline&) const = default;

 private:
  explicit Deadline(int64_t at_us) : at_us_(at_us) {}
  int64_t at_us_;
};

}  // namespace millrace::tools
