// Record batch format v2: the header, the records inside, and the few fields that a broker may change.
//
// A batch is 61 bytes of header and then the records, compressed as one block when the attributes say so.
// The CRC covers everything from the attributes on: offset, length, leader epoch and magic may change without
// it.
#pragma once

#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/compression.h"
#include "protocol/result.h"

namespace millrace::protocol {

enum class TimestampType : uint8_t { kCreateTime = 0, kLogAppendTime = 1 };

inline constexpr int64_t kNoTimestamp = -1;
inline constexpr int64_t kNoProducerId = -1;
inline constexpr int16_t kNoProducerEpoch = -1;
inline constexpr int32_t kNoSequence = -1;

struct BatchHeader {
  static constexpr size_t kSize = 61;
  static constexpr int8_t kMagic = 2;
  // What precedes the part that `batch_length` counts.
  static constexpr size_t kLengthOverhead = 12;

  int64_t base_offset = 0;
  int32_t batch_length = 0;
  int32_t partition_leader_epoch = -1;
  int8_t magic = kMagic;
  uint32_t crc = 0;
  int16_t attributes = 0;
  int32_t last_offset_delta = 0;
  int64_t base_timestamp_ms = kNoTimestamp;
  int64_t max_timestamp_ms = kNoTimestamp;
  int64_t producer_id = kNoProducerId;
  int16_t producer_epoch = kNoProducerEpoch;
  int32_t base_sequence = kNoSequence;
  int32_t record_count = 0;

  // The value may be one that no codec has (5 to 7): `compression_known` tells.
  Compression compression() const { return static_cast<Compression>(attributes & 0x7); }
  bool compression_known() const { return (attributes & 0x7) <= static_cast<int>(Compression::kZstd); }
  TimestampType timestamp_type() const { return static_cast<TimestampType>(attributes >> 3 & 1); }
  bool is_transactional() const { return (attributes & 0x10) != 0; }
  bool is_control() const { return (attributes & 0x20) != 0; }
  bool has_delete_horizon() const { return (attributes & 0x40) != 0; }
  bool has_producer_id() const { return producer_id > kNoProducerId; }
  // Wraps around for nonsense from the wire; a validated batch has none.
  int64_t last_offset() const {
    return static_cast<int64_t>(static_cast<uint64_t>(base_offset) +
                                static_cast<uint64_t>(int64_t{last_offset_delta}));
  }
  // Sequence numbers start again at 0 after INT32_MAX. -1 without a base sequence.
  int32_t last_sequence() const;
  // The whole batch, header included.
  size_t size_bytes() const { return kLengthOverhead + static_cast<size_t>(batch_length); }
};

// Decodes the header alone: `at` needs its 61 bytes, the records may be elsewhere (a file, the next read).
// Errors, all kCorruptMessage: fewer bytes, a length below the header's own, a magic other than 2.
Result<BatchHeader> peek_batch_header(Bytes at);

// The same for a batch that must be wholly in `batch` (more may follow it).
Result<BatchHeader> read_batch_header(Bytes batch);

// Writes all fields, batch length and CRC included, as they are in `header`. `at` has room for kSize bytes.
void write_batch_header(const BatchHeader& header, MutableBytes at);

// Whether the stored CRC is that of the contents. `batch` starts with a whole batch that read_batch_header
// took.
bool crc_matches(Bytes batch);

// Stores the CRC of the contents as they are now. `batch` as above.
void update_crc(MutableBytes batch);

struct RecordHeader {
  std::string_view key;
  std::optional<Bytes> value;
};

// A record as views into the batch (or into the decompressed copy): valid during the callback only.
struct RecordView {
  int64_t offset = 0;
  int32_t offset_delta = 0;
  // The batch's max timestamp when that has LogAppendTime.
  int64_t timestamp_ms = kNoTimestamp;
  std::optional<Bytes> key;
  std::optional<Bytes> value;
  std::span<const RecordHeader> headers;
  // The record's encoding: length prefix included.
  size_t size_bytes = 0;
};

// Calls `fn` for each record in order until it returns false or the records end. `batch` starts with a
// whole batch; at most `decompress_limit` bytes of records are made from a compressed one. The CRC is not
// checked. Errors: those of read_batch_header; kInvalidRecord for records that don't parse, for fewer or more
// of them than the header counts (found only if `fn` went through all) and for data that doesn't decompress;
// kMessageTooLarge beyond the limit. `fn` may have been called for the records before the bad one.
Result<void> for_each_record(Bytes batch, size_t decompress_limit,
                             const std::function<bool(const RecordView&)>& fn);

// Batches one after the other, as in a segment file or a fetch response: calls `fn(header, batch)` for each
// whole one until it returns false; an incomplete one at the end is left alone. Returns the bytes that were
// gone through. Errors: those of read_batch_header, but for the incomplete last batch.
Result<size_t> for_each_batch(Bytes batches, const std::function<bool(const BatchHeader&, Bytes)>& fn);

// Changes in place. `batch` starts with a whole batch that read_batch_header took.
void set_base_offset(MutableBytes batch, int64_t base_offset);
void set_partition_leader_epoch(MutableBytes batch, int32_t leader_epoch);
// Type and max timestamp go to the attributes and the header, and a new CRC if either changed.
void set_max_timestamp(MutableBytes batch, TimestampType type, int64_t max_timestamp_ms);
inline void set_log_append_time(MutableBytes batch, int64_t now_ms) {
  set_max_timestamp(batch, TimestampType::kLogAppendTime, now_ms);
}

}  // namespace millrace::protocol
