// What a partition knows about idempotent producers (KIP-98, KIP-360): per producer id its epoch and its last
// five batches, against which the sequence numbers of the next one are checked.
//
// The state is a function of the log: it is rebuilt by replay of batch headers. Snapshots, which the log
// keeps in the index, only shorten the replay; one that is damaged is ignored.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/record_batch.h"
#include "protocol/result.h"

namespace millrace::storage {

struct ProducerBatch {
  int32_t first_sequence = 0;
  int32_t last_sequence = 0;
  int64_t first_offset = 0;
  int64_t last_offset = 0;
  int64_t max_timestamp_ms = -1;
  auto operator<=>(const ProducerBatch&) const = default;
};

struct ProducerEntry {
  static constexpr size_t kKeptBatches = 5;

  int64_t producer_id = -1;
  int16_t epoch = -1;
  // Of the last batch, for DescribeProducers.
  int64_t last_timestamp_ms = -1;
  // When the last batch was appended (or replayed): expiry goes by this and not by the producer's own
  // timestamps, or a producer that copies old records would be forgotten between two batches.
  int64_t last_seen_ms = 0;
  uint8_t batch_count = 0;
  std::array<ProducerBatch, kKeptBatches> batches;  // oldest first

  int32_t last_sequence() const { return batch_count == 0 ? -1 : batches[batch_count - 1].last_sequence; }
  int64_t last_offset() const { return batch_count == 0 ? -1 : batches[batch_count - 1].last_offset; }
};

class ProducerState {
 public:
  ProducerState(std::string partition_name, int64_t expiration_ms);

  // The batch that was already appended with the epoch and the sequence numbers of `header`, if it is one of
  // the last five.
  std::optional<ProducerBatch> find_duplicate(const protocol::BatchHeader& header) const;
  // Whether a client's batch may follow what is there. Errors: kInvalidProducerEpoch for an epoch below the
  // known one; kOutOfOrderSequenceNumber for a gap, or for a new epoch that doesn't begin at 0. A producer
  // that isn't known (any more) may begin anywhere (KIP-360).
  Result<> check(const protocol::BatchHeader& header) const;
  // Takes in a batch that is in the log, checked or replayed. Batches without a producer id change nothing
  // but end_offset.
  void append(const protocol::BatchHeader& header, int64_t now_ms);

  // Forgets producers not seen for the expiration time; returns how many.
  size_t expire(int64_t now_ms);
  void set_expiration_ms(int64_t expiration_ms) { expiration_ms_ = expiration_ms; }

  // The state as of end_offset(), for restore().
  Buffer snapshot() const;
  // Starts from a snapshot; false, and nothing changes, if it is damaged or its offset lies outside
  // [log_start_offset, log_end_offset]: beyond the end it may be of a history that was cut off.
  bool restore(Bytes snapshot, int64_t log_start_offset, int64_t log_end_offset, int64_t now_ms);
  // Empty again, at `offset`.
  void reset(int64_t offset);

  // The state is that after the batch before this offset.
  int64_t end_offset() const { return end_offset_; }
  size_t size() const { return producers_.size(); }
  const ProducerEntry* find(int64_t producer_id) const;
  // All producers, in the order of their ids.
  std::vector<ProducerEntry> list() const;

 private:
  const std::string partition_name_;
  int64_t expiration_ms_;
  int64_t end_offset_ = 0;
  std::unordered_map<int64_t, ProducerEntry> producers_;
};

}  // namespace millrace::storage
