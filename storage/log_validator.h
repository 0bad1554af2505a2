// What a leader checks in produced data before it goes to the log, and what it changes in it: Kafka's rules
// (UnifiedLog.analyzeAndValidateRecords and LogValidator of Apache Kafka 4.3), as pure functions.
//
// Sequence numbers and producer epochs are not looked at here: they need the producer state, and Kafka
// checks them after all of this.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/compression.h"
#include "protocol/record_batch.h"
#include "protocol/result.h"

namespace millrace::storage {

// Who appends: clients may write neither control batches nor offsets of their own. What a coordinator appends
// comes from a BatchBuilder, uncompressed, each record with a key and the same timestamp as the others, and
// isn't looked at record by record.
enum class AppendOrigin { kClient, kCoordinator };

struct ValidationOptions {
  int64_t now_ms = 0;
  int64_t base_offset = 0;  // the offset that the first record gets
  int32_t leader_epoch = 0;
  AppendOrigin origin = AppendOrigin::kClient;
  std::string_view partition_name;  // "topic-0", for messages

  protocol::TimestampType timestamp_type = protocol::TimestampType::kCreateTime;  // message.timestamp.type
  int64_t timestamp_before_max_ms = INT64_MAX;  // message.timestamp.before.max.ms
  int64_t timestamp_after_max_ms = 3'600'000;   // message.timestamp.after.max.ms
  // compression.type; nullopt is "producer": as it came.
  std::optional<protocol::Compression> compression;
  std::optional<int>
      compression_level;  // compression.{gzip,lz4,zstd}.level of that codec; its default without
  size_t max_message_bytes = 1'048'588;  // max.message.bytes
  size_t segment_bytes = 1'073'741'824;  // segment.bytes
  bool compacted = false;                // cleanup.policy has "compact": every record needs a key
  // What a compressed batch may become when decompressed. Kafka has no such limit, since it never holds it
  // whole.
  size_t decompress_limit = size_t{64} << 20;
};

struct RecordError {
  int32_t batch_index = 0;  // of the record in its batch, from 0
  std::string message;
};

// An Error with what Produce v8+ also answers: which records were refused. Empty for errors of the whole
// batch.
struct AppendError : Error {
  AppendError() = default;
  AppendError(Error error) : Error(std::move(error)) {}  // NOLINT: so that any Error will do
  AppendError(Error error, std::vector<RecordError> errors)
      : Error(std::move(error)), record_errors(std::move(errors)) {}

  std::vector<RecordError> record_errors;
};

// One batch with its offsets, leader epoch and timestamps, ready to be written.
struct ValidatedBatch {
  // What to write: a part of the memory that was given in, or `rewritten`.
  Bytes bytes;
  Buffer rewritten;                                     // empty if the batch could be used as it came
  protocol::BatchHeader header;                         // of `bytes`
  int64_t log_append_time_ms = protocol::kNoTimestamp;  // of a topic with LogAppendTime, else -1
  // Where a time index would point: the batch's max timestamp (-1 without) and the first record that has it.
  int64_t max_timestamp_ms = protocol::kNoTimestamp;
  int64_t offset_of_max_timestamp = -1;
};

// What a Produce request of a version holds for one partition, before anything is known about the topic:
// exactly one batch of magic 2, no zstd before version 7. `records` is what the request had, nullopt for
// null. Errors: kInvalidRecord, kUnsupportedCompressionType, kCorruptMessage (where not even batches can be
// told apart).
Result<void> validate_produce_records(std::optional<Bytes> records, int16_t produce_version);

// Checks the one batch in `records` and makes it ready for the log, in place where possible. Bytes of an
// incomplete batch behind it are ignored. On error the memory may have been changed, too.
// Errors: kInvalidRecord, kCorruptMessage, kMessageTooLarge (max.message.bytes), kRecordListTooLarge
// (segment.bytes), kInvalidTimestamp.
std::expected<ValidatedBatch, AppendError> validate_for_append(MutableBytes records,
                                                               const ValidationOptions& options);

}  // namespace millrace::storage
