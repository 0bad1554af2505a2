// The topic settings that matter to a log, under Kafka's names and with Kafka's defaults.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>

#include "protocol/compression.h"
#include "protocol/record_batch.h"

namespace millrace::storage {

struct LogConfig {
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

  int32_t segment_bytes = 1 << 30;        // segment.bytes
  int64_t segment_ms = 604'800'000;       // segment.ms
  int64_t segment_jitter_ms = 0;          // segment.jitter.ms
  int64_t retention_ms = 604'800'000;     // retention.ms; -1: no limit
  int64_t retention_bytes = -1;           // retention.bytes; -1: no limit
  int32_t index_interval_bytes = 4096;    // index.interval.bytes
  int32_t max_message_bytes = 1'048'588;  // max.message.bytes
  int64_t file_delete_delay_ms = 60'000;  // file.delete.delay.ms
  int64_t flush_messages = kNever;        // flush.messages: read by who acknowledges, not by the log
  int64_t flush_ms = kNever;              // flush.ms: likewise
  bool preallocate = false;               // preallocate

  protocol::TimestampType timestamp_type = protocol::TimestampType::kCreateTime;  // message.timestamp.type
  int64_t timestamp_before_max_ms = kNever;    // message.timestamp.before.max.ms
  int64_t timestamp_after_max_ms = 3'600'000;  // message.timestamp.after.max.ms

  // compression.type; nullopt is "producer": batches stay as they came.
  std::optional<protocol::Compression> compression;
  std::optional<int> gzip_level;  // compression.gzip.level
  std::optional<int> lz4_level;   // compression.lz4.level
  std::optional<int> zstd_level;  // compression.zstd.level

  bool delete_old = true;                    // cleanup.policy has "delete"
  bool compact = false;                      // cleanup.policy has "compact"
  int64_t delete_retention_ms = 86'400'000;  // delete.retention.ms
  double min_cleanable_dirty_ratio = 0.5;    // min.cleanable.dirty.ratio
  int64_t min_compaction_lag_ms = 0;         // min.compaction.lag.ms
  int64_t max_compaction_lag_ms = kNever;    // max.compaction.lag.ms
};

}  // namespace millrace::storage
