#include "storage/retention.h"

namespace millrace::storage {

int64_t retention_timestamp_ms(int64_t max_timestamp_ms, int64_t last_written_ms, int64_t now_ms) {
  return max_timestamp_ms < 0 || max_timestamp_ms > now_ms ? last_written_ms : max_timestamp_ms;
}

RetentionReport choose_expired(std::span<const SegmentFacts> segments, const LogConfig& config,
                               int64_t log_start_offset, int64_t high_watermark, int64_t now_ms) {
  RetentionReport report;
  int64_t total_bytes = 0;
  for (const SegmentFacts& segment : segments) total_bytes += segment.size;

  const auto may_go = [&](size_t i) {
    const bool active_and_empty = i + 1 == segments.size() && segments[i].size == 0;
    return i < segments.size() && segments[i].upper_bound_offset <= high_watermark && !active_and_empty;
  };
  size_t next = 0;
  const auto take = [&](size_t& reason) {
    report.bytes += segments[next++].size;
    ++reason;
  };
  if (config.delete_old && config.retention_ms >= 0) {
    while (may_go(next) && now_ms - segments[next].largest_timestamp_ms > config.retention_ms)
      take(report.by_time);
  }
  if (config.delete_old && config.retention_bytes >= 0) {
    while (may_go(next) && total_bytes - report.bytes - segments[next].size >= config.retention_bytes)
      take(report.by_size);
  }
  while (may_go(next) && next + 1 < segments.size() &&
         segments[next].upper_bound_offset <= log_start_offset) {
    take(report.by_start_offset);
  }
  return report;
}

}  // namespace millrace::storage
