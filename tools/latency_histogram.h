// Percentiles of latencies in constant memory: buckets within 1/64 of the value.
#pragma once

#include <cstdint>
#include <vector>

namespace millrace::tools {

class LatencyHistogram {
 public:
  LatencyHistogram();
  // `times` is how many records shared this latency.
  void add(int64_t latency_us, int64_t times = 1);
  // The upper edge of the bucket that holds the given part (0..1) of all values, in microseconds; 0 when
  // empty.
  int64_t percentile_us(double part) const;
  int64_t max_us() const { return max_us_; }
  double mean_us() const { return count_ == 0 ? 0 : sum_us_ / static_cast<double>(count_); }
  int64_t count() const { return count_; }

 private:
  std::vector<int64_t> buckets_;
  int64_t count_ = 0;
  int64_t max_us_ = 0;
  double sum_us_ = 0;
};

}  // namespace millrace::tools
