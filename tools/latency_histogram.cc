#include "tools/latency_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace millrace::tools {
namespace {

// Values below 128 have a bucket each; above, every power of two is split into 64.
constexpr int kSplitBits = 6;
constexpr uint64_t kSplit = 1 << kSplitBits;

size_t bucket_of(uint64_t value) {
  if (value < 2 * kSplit) return value;
  const int shift = std::bit_width(value) - kSplitBits - 1;
  return static_cast<size_t>(shift) * kSplit + (value >> shift);
}

uint64_t upper_edge(size_t bucket) {
  if (bucket < 2 * kSplit) return bucket;
  const size_t shift = bucket / kSplit - 1;
  return ((bucket - shift * kSplit + 1) << shift) - 1;
}

}  // namespace

LatencyHistogram::LatencyHistogram() : buckets_(bucket_of(uint64_t{1} << 40) + 1) {}

void LatencyHistogram::add(int64_t latency_us, int64_t times) {
  latency_us = std::clamp<int64_t>(latency_us, 0, int64_t{1} << 40);
  buckets_[bucket_of(static_cast<uint64_t>(latency_us))] += times;
  count_ += times;
  max_us_ = std::max(max_us_, latency_us);
  sum_us_ += static_cast<double>(latency_us) * static_cast<double>(times);
}

int64_t LatencyHistogram::percentile_us(double part) const {
  const auto wanted = static_cast<int64_t>(std::ceil(part * static_cast<double>(count_)));
  int64_t seen = 0;
  for (size_t bucket = 0; bucket < buckets_.size(); ++bucket) {
    seen += buckets_[bucket];
    if (seen >= wanted && seen > 0) return std::min(static_cast<int64_t>(upper_edge(bucket)), max_us_);
  }
  return max_us_;
}

}  // namespace millrace::tools
