// Makes record batches: what a producer sends, what the coordinators write to their logs, what recompression
// and compaction write back.
#pragma once

#include <cassert>
#include <cstring>
#include <optional>
#include <span>
#include <utility>

#include "protocol/bytes.h"
#include "protocol/compression.h"
#include "protocol/record_batch.h"
#include "protocol/result.h"
#include "protocol/varint.h"

namespace millrace::protocol {

struct BatchOptions {
  int64_t base_offset = 0;
  int32_t partition_leader_epoch = -1;
  Compression compression = Compression::kNone;
  std::optional<int> compression_level;  // the codec's default without
  TimestampType timestamp_type = TimestampType::kCreateTime;
  // With kLogAppendTime: the batch's max timestamp, which counts for all its records.
  int64_t log_append_time_ms = kNoTimestamp;
  int64_t producer_id = kNoProducerId;
  int16_t producer_epoch = kNoProducerEpoch;
  int32_t base_sequence = kNoSequence;
  bool transactional = false;
  bool control = false;
  // Until when a compacted log keeps the tombstones in the batch (KIP-534): stored in place of the first
  // record's timestamp, from which the others count.
  std::optional<int64_t> delete_horizon_ms;
  // Where compaction took the batch's last records: the offset that it still ends at, so that the sequence
  // number of its last record survives, too.
  std::optional<int64_t> last_offset;
};

// One batch at a time: append records, then build, which also makes the builder ready for the next batch.
class BatchBuilder {
 public:
  explicit BatchBuilder(const BatchOptions& options = {});

  // Adds a record at the next offset. The bytes are copied. Together they must stay below 1 GiB.
  void append(std::optional<Bytes> key, std::optional<Bytes> value, std::span<const RecordHeader> headers,
              int64_t timestamp_ms);
  // The same at an offset of one's own, which must be above all before it (compacted logs have gaps).
  void append_at(int64_t offset, std::optional<Bytes> key, std::optional<Bytes> value,
                 std::span<const RecordHeader> headers, int64_t timestamp_ms);

  // A copy of the last record at the next offset; its key and value may be overwritten in place until the
  // next call. Nothing, and no copy made, where the copy would take another size than the record, because of
  // its offset. Needs a record.
  struct Copy {
    MutableBytes key;  // empty for null
    MutableBytes value;
  };
  std::optional<Copy> append_copy() {
    assert(!empty());
    const bool is_longer = zigzag(int64_t{last_offset_delta_} + 1) >> (7 * last_.offset_bytes) != 0;
    if (is_longer) return std::nullopt;
    const size_t from = std::exchange(last_.begin, size_);
    const size_t size = size_ - from;
    size_ += size;
    make_room();
    std::byte* const begin = batch_.data() + last_.begin;
    std::memcpy(begin, batch_.data() + from, size);
    write_varint(begin + last_.offset, zigzag(int64_t{++last_offset_delta_}));
    ++record_count_;
    return Copy{{begin + last_.key, last_.key_bytes}, {begin + last_.value, last_.value_bytes}};
  }

  int32_t record_count() const { return record_count_; }
  bool empty() const { return record_count_ == 0; }
  // Of the batch as it would be without compression, header included.
  size_t uncompressed_size_bytes() const { return empty() ? BatchHeader::kSize : size_; }
  // Of memory that it holds.
  size_t capacity_bytes() const { return batch_.capacity() + compressed_.capacity(); }

  // The finished batch with its CRC. An empty one has last offset delta -1, as no validator takes it.
  // Errors: those of compress.
  Result<Buffer> build();
  // The same in the builder's own memory, which holds it until the next append or build.
  Result<MutableBytes> build_in_place();

  // Options of the next batch. Only while empty.
  void set_options(const BatchOptions& options) { options_ = options; }

 private:
  // For size_ bytes.
  void make_room() {
    if (size_ > batch_.size()) enlarge();
  }
  void enlarge();

  BatchOptions options_;
  // Uncompressed, with a place for its header in front. While there are records its first size_ bytes count.
  Buffer batch_;
  size_t size_ = 0;
  // Of the last record: where it begins, and from there its parts.
  struct Place {
    size_t begin = 0;
    size_t offset = 0;
    size_t offset_bytes = 0;
    size_t key = 0;
    size_t key_bytes = 0;
    size_t value = 0;
    size_t value_bytes = 0;
  };
  Place last_;
  Buffer compressed_;
  int32_t record_count_ = 0;
  int32_t last_offset_delta_ = -1;
  int64_t base_timestamp_ms_ = kNoTimestamp;
  int64_t max_timestamp_ms_ = kNoTimestamp;
};

}  // namespace millrace::protocol
