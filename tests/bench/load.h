// What the loads of the raw client share: for how long they run, and what they report.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "tests/bench/process_usage.h"
#include "tools/latency_histogram.h"

namespace millrace::bench {

struct LoadOptions {
  std::string broker;
  std::string topic;
  int32_t partitions = 1;
  size_t connections = 1;
  pid_t server_pid = 0;  // whose CPU time is measured
  // Not counted at first; then so long or so many bytes, whichever is first.
  int64_t warmup_ms = 0;
  int64_t measure_ms = 1000;
  int64_t max_bytes = INT64_MAX;
};

struct LoadResult {
  // Within the measured time.
  int64_t records = 0;
  int64_t bytes = 0;
  int64_t requests = 0;
  double seconds = 0;
  CpuTime cpu;
  tools::LatencyHistogram latency;
  // From the first request to the last.
  int64_t all_records = 0;
};

// Tells a load when to measure and when to stop, and takes the readings.
class LoadClock {
 public:
  explicit LoadClock(const LoadOptions& options, LoadResult& result);
  // Before anything that is counted. False when the load is to stop.
  bool running(int64_t now_ns);
  bool measuring() const { return state_ == State::kMeasuring; }
  // Whether that moment belongs to the measured time: what was due in it is late by as much as it is late,
  // and be it answered after the end.
  bool measured(int64_t at_ns) const {
    return state_ != State::kWarmingUp && begun_ns_ <= at_ns && at_ns < ended_ns_;
  }
  // Where the measured time ended, once running() said so.
  int64_t ended_ns() const { return ended_ns_; }
  // Counts an answer.
  void count(int64_t records, int64_t bytes);
  // When to ask again at the latest.
  int64_t next_change_ns() const;

 private:
  enum class State : uint8_t { kWarmingUp, kMeasuring, kDone };
  void begin(int64_t now_ns);
  void end(int64_t now_ns);

  const LoadOptions& options_;
  LoadResult& result_;
  CpuClock cpu_;
  State state_ = State::kWarmingUp;
  int64_t begun_ns_ = 0;
  int64_t ended_ns_ = INT64_MAX;
  int64_t next_ns_ = 0;
};

}  // namespace millrace::bench
