#include "protocol/batch_builder.h"

#include <algorithm>
#include <cstring>
#include <utility>

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
  if (!bytes->empty()) std::memcpy(at, bytes->data(), bytes->size());
  return at + bytes->size();
}

size_t headers_size(std::span<const RecordHeader> headers) {
  size_t size = number_size(static_cast<int64_t>(headers.size()));
  for (const RecordHeader& header : headers)
    size += bytes_size(as_bytes(header.key)) + bytes_size(header.value);
  return size;
}

}  // namespace

void BatchBuilder::enlarge() { batch_.resize(std::max(size_, batch_.size() * 2)); }

BatchBuilder::BatchBuilder(const BatchOptions& options) : options_(options) {}

void BatchBuilder::append(std::optional<Bytes> key, std::optional<Bytes> value,
                          std::span<const RecordHeader> headers, int64_t timestamp_ms) {
  append_at(options_.base_offset + last_offset_delta_ + 1, key, value, headers, timestamp_ms);
}

void BatchBuilder::append_at(int64_t offset, std::optional<Bytes> key, std::optional<Bytes> value,
                             std::span<const RecordHeader> headers, int64_t timestamp_ms) {
  if (empty()) {
    base_timestamp_ms_ = options_.delete_horizon_ms.value_or(timestamp_ms);
    size_ = BatchHeader::kSize;
  }
  max_timestamp_ms_ = std::max(max_timestamp_ms_, timestamp_ms);
  last_offset_delta_ = static_cast<int32_t>(offset - options_.base_offset);
  ++record_count_;
  // Wraps around where no int64 would do, and so back again in the reader.
  const auto timestamp_delta_ms =
      static_cast<int64_t>(static_cast<uint64_t>(timestamp_ms) - static_cast<uint64_t>(base_timestamp_ms_));
  const size_t body_size = 1 + number_size(timestamp_delta_ms) + number_size(last_offset_delta_) +
                           bytes_size(key) + bytes_size(value) + headers_size(headers);
  const size_t start = size_;
  size_ += number_size(static_cast<int64_t>(body_size)) + body_size;
  make_room();
  std::byte* const begin = batch_.data() + start;
  std::byte* at = put_number(begin, static_cast<int64_t>(body_size));
  *at++ = std::byte{0};  // attributes: none are defined
  at = put_number(at, timestamp_delta_ms);
  last_.begin = start;
  last_.offset = static_cast<size_t>(at - begin);
  at = put_number(at, last_offset_delta_);
  last_.offset_bytes = static_cast<size_t>(at - begin) - last_.offset;
  at = put_bytes(at, key);
  last_.key_bytes = key ? key->size() : 0;
  last_.key = static_cast<size_t>(at - begin) - last_.key_bytes;
  at = put_bytes(at, value);
  last_.value_bytes = value ? value->size() : 0;
  last_.value = static_cast<size_t>(at - begin) - last_.value_bytes;
  at = put_number(at, static_cast<int64_t>(headers.size()));
  for (const RecordHeader& header : headers) {
    at = put_bytes(at, as_bytes(header.key));
    at = put_bytes(at, header.value);
  }
}

Result<MutableBytes> BatchBuilder::build_in_place() {
  const size_t size = uncompressed_size_bytes();
  if (batch_.size() < size) batch_.resize(size);
  MutableBytes batch = MutableBytes(batch_).first(size);
  if (options_.compression != Compression::kNone) {
    const int level = options_.compression_level.value_or(compression_levels(options_.compression).standard);
    const auto records = compress(options_.compression, batch.subspan(BatchHeader::kSize), level);
    if (!records) return std::unexpected(records.error());
    compressed_.resize(BatchHeader::kSize + records->size());
    std::memcpy(compressed_.data() + BatchHeader::kSize, records->data(), records->size());
    batch = compressed_;
  }
  const bool append_time = options_.timestamp_type == TimestampType::kLogAppendTime;
  BatchHeader header;
  header.base_offset = options_.base_offset;
  header.batch_length = static_cast<int32_t>(batch.size() - BatchHeader::kLengthOverhead);
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
  write_batch_header(header, batch);
  update_crc(batch);
  record_count_ = 0;
  last_offset_delta_ = -1;
  base_timestamp_ms_ = max_timestamp_ms_ = kNoTimestamp;
  return batch;
}

Result<Buffer> BatchBuilder::build() {
  const auto built = build_in_place();
  if (!built) return std::unexpected(built.error());
  if (options_.compression != Compression::kNone) return std::exchange(compressed_, {});
  return Buffer(built->begin(), built->end());
}

}  // namespace millrace::protocol
