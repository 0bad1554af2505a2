#include "protocol/batch_builder.h"

#include <algorithm>

#include "protocol/varint.h"

namespace millrace::protocol {
namespace {

size_t number_size(int64_t value) { return varint_size(zigzag(value)); }
std::byte* put_number(std::byte* at, int64_t value) { return write_varint(at, zigzag(value)); }

size_t bytes_size(const std::optional<Bytes>& bytes) {
  if (!bytes) return number_size(-1);
  return number_size(static_cast<int64_t>(bytes->size())) + bytes->size();
}

std::byte* put_bytes(std::byte* at, const std::optional<Bytes>& bytes) {
  if (!bytes) return put_number(at, -1);
  at = put_number(at, static_cast<int64_t>(bytes->size()));
  return std::ranges::copy(*bytes, at).out;
}

size_t headers_size(std::span<const RecordHeader> headers) {
  size_t size = number_size(static_cast<int64_t>(headers.size()));
  for (const RecordHeader& header : headers)
    size += bytes_size(as_bytes(header.key)) + bytes_size(header.value);
  return size;
}

}  // namespace

BatchBuilder::BatchBuilder(const BatchOptions& options) : options_(options) {}

void BatchBuilder::append(std::optional<Bytes> key, std::optional<Bytes> value,
                          std::span<const RecordHeader> headers, int64_t timestamp_ms) {
  append_at(options_.base_offset + last_offset_delta_ + 1, key, value, headers, timestamp_ms);
}

void BatchBuilder::append_at(int64_t offset, std::optional<Bytes> key, std::optional<Bytes> value,
                             std::span<const RecordHeader> headers, int64_t timestamp_ms) {
  if (empty()) base_timestamp_ms_ = options_.delete_horizon_ms.value_or(timestamp_ms);
  max_timestamp_ms_ = std::max(max_timestamp_ms_, timestamp_ms);
  last_offset_delta_ = static_cast<int32_t>(offset - options_.base_offset);
  ++record_count_;
  // Wraps around where no int64 would do, and so back again in the reader.
  const auto timestamp_delta_ms =
      static_cast<int64_t>(static_cast<uint64_t>(timestamp_ms) - static_cast<uint64_t>(base_timestamp_ms_));
  const size_t body_size = 1 + number_size(timestamp_delta_ms) + number_size(last_offset_delta_) +
                           bytes_size(key) + bytes_size(value) + headers_size(headers);
  const size_t start = records_.size();
  records_.resize(start + number_size(static_cast<int64_t>(body_size)) + body_size);
  std::byte* at = put_number(records_.data() + start, static_cast<int64_t>(body_size));
  *at++ = std::byte{0};  // attributes: none are defined
  at = put_number(at, timestamp_delta_ms);
  at = put_number(at, last_offset_delta_);
  at = put_bytes(at, key);
  at = put_bytes(at, value);
  at = put_number(at, static_cast<int64_t>(headers.size()));
  for (const RecordHeader& header : headers) {
    at = put_bytes(at, as_bytes(header.key));
    at = put_bytes(at, header.value);
  }
}

Result<Buffer> BatchBuilder::build() {
  Buffer compressed;
  if (options_.compression != Compression::kNone) {
    const int level = options_.compression_level.value_or(compression_levels(options_.compression).standard);
    auto made = compress(options_.compression, records_, level);
    if (!made) return made;
    compressed = std::move(*made);
  }
  const Buffer& records = options_.compression == Compression::kNone ? records_ : compressed;
  const bool append_time = options_.timestamp_type == TimestampType::kLogAppendTime;
  BatchHeader header;
  header.base_offset = options_.base_offset;
  header.batch_length =
      static_cast<int32_t>(BatchHeader::kSize - BatchHeader::kLengthOverhead + records.size());
  header.partition_leader_epoch = options_.partition_leader_epoch;
  header.attributes = static_cast<int16_t>(
      static_cast<int>(options_.compression) | static_cast<int>(options_.timestamp_type) << 3 |
      static_cast<int>(options_.transactional) << 4 | static_cast<int>(options_.control) << 5 |
      static_cast<int>(options_.delete_horizon_ms.has_value()) << 6);
  header.last_offset_delta = options_.last_offset
                                 ? static_cast<int32_t>(*options_.last_offset - options_.base_offset)
                                 : last_offset_delta_;
  header.base_timestamp_ms = base_timestamp_ms_;
  header.max_timestamp_ms = append_time ? options_.log_append_time_ms : max_timestamp_ms_;
  header.producer_id = options_.producer_id;
  header.producer_epoch = options_.producer_epoch;
  header.base_sequence = options_.base_sequence;
  header.record_count = record_count_;
  Buffer batch(BatchHeader::kSize + records.size());
  std::ranges::copy(records, batch.begin() + BatchHeader::kSize);
  write_batch_header(header, batch);
  update_crc(batch);
  records_.clear();
  record_count_ = 0;
  last_offset_delta_ = -1;
  base_timestamp_ms_ = max_timestamp_ms_ = kNoTimestamp;
  return batch;
}

}  // namespace millrace::protocol
