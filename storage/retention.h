// Which of a log's oldest segments may go: Kafka's rules, as a pure function.
#pragma once

#include <cstdint>
#include <span>

#include "storage/log_config.h"

namespace millrace::storage {

struct SegmentFacts {
  int64_t base_offset = 0;
  // Base offset of the next segment; the log's end for the active one.
  int64_t upper_bound_offset = 0;
  int64_t size = 0;
  int64_t largest_timestamp_ms = 0;
};

struct RetentionReport {
  size_t by_time = 0;  // segments
  size_t by_size = 0;
  size_t by_start_offset = 0;
  int64_t bytes = 0;
  size_t count() const { return by_time + by_size + by_start_offset; }
};

// By what a segment ages: its largest timestamp, or when it was last written if that is unknown or lies in
// the future. (Kafka keeps a segment with a future timestamp until that moment has passed, which may be
// never.)
int64_t retention_timestamp_ms(int64_t max_timestamp_ms, int64_t last_written_ms, int64_t now_ms);

// How many segments go, from the oldest on, and why. `segments` in order, the active one last. Segments that
// reach `high_watermark` stay, and so does an empty active one.
RetentionReport choose_expired(std::span<const SegmentFacts> segments, const LogConfig& config,
                               int64_t log_start_offset, int64_t high_watermark, int64_t now_ms);

}  // namespace millrace::storage
