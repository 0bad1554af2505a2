#include "protocol/record_batch.h"

#include <fmt/format.h>

#include <bit>
#include <concepts>
#include <cstring>
#include <limits>

#include "protocol/crc32c.h"
#include "protocol/varint.h"

namespace millrace::protocol {
namespace {

constexpr size_t kLengthAt = 8;
constexpr size_t kLeaderEpochAt = 12;
constexpr size_t kMagicAt = 16;
constexpr size_t kCrcAt = 17;
constexpr size_t kAttributesAt = 21;
constexpr size_t kLastOffsetDeltaAt = 23;
constexpr size_t kBaseTimestampAt = 27;
constexpr size_t kMaxTimestampAt = 35;
constexpr size_t kProducerIdAt = 43;
constexpr size_t kProducerEpochAt = 51;
constexpr size_t kBaseSequenceAt = 53;
constexpr size_t kRecordCountAt = 57;

constexpr int16_t kTimestampTypeBit = 0x08;
// A decompression buffer that grew beyond this isn't kept for the next batch.
constexpr size_t kMaxKeptBufferSize = size_t{4} << 20;
// The lengths of a header's key and value, one byte each.
constexpr size_t kMinHeaderSizeInRecord = 2;

static_assert(std::endian::native == std::endian::little);

template <std::integral T>
T get(Bytes bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return std::byteswap(value);
}

template <std::integral T>
void put(MutableBytes bytes, size_t at, T value) {
  value = std::byteswap(value);
  std::memcpy(bytes.data() + at, &value, sizeof(T));
}

uint32_t crc_of(Bytes batch) {
  const size_t size = BatchHeader::kLengthOverhead + static_cast<uint32_t>(get<int32_t>(batch, kLengthAt));
  return crc32c(batch.first(size).subspan(kAttributesAt));
}

int64_t wrapping_add(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}

std::unexpected<Error> invalid(std::string message) {
  return fail(ErrorCode::kInvalidRecord, std::move(message));
}

// Reads the parts of one record. Each function says whether what it reads is there; after a false nothing may
// be read any more. All records that anybody produces go through here, so it has a short way for what is
// usual.
struct RecordReader {
  const std::byte* at;
  const std::byte* end;

  template <std::signed_integral T>
  bool number(T& value) {
    std::make_unsigned_t<T> raw = 0;
    // Nearly all are of one byte or two.
    if (at != end && !goes_on(at[0])) {
      raw = std::to_integer<uint8_t>(at[0]);
      at += 1;
    } else if (end - at >= 2 && !goes_on(at[1])) {
      raw = (std::to_integer<uint8_t>(at[0]) & 0x7fu) | std::to_integer<uint8_t>(at[1]) << 7;
      at += 2;
    } else {
      at = read_varint(at, end, raw);
      if (at == nullptr) return false;
    }
    value = unzigzag(raw);
    return true;
  }

  // Whether the number has more bytes.
  static bool goes_on(std::byte byte) { return (byte & std::byte{0x80}) != std::byte{0}; }

  bool skip_byte() {
    if (at == end) return false;
    ++at;
    return true;
  }

  // A negative length means null.
  bool bytes(std::optional<Bytes>& found) {
    int32_t size = 0;
    if (!number(size) || size > end - at) return false;
    if (size < 0) {
      found.reset();
      return true;
    }
    found.emplace(at, static_cast<size_t>(size));
    at += size;
    return true;
  }
};

bool read_record_headers(RecordReader& reader, int32_t count, std::vector<RecordHeader>& headers) {
  if (count < 0) return false;
  if (static_cast<size_t>(count) > static_cast<size_t>(reader.end - reader.at) / kMinHeaderSizeInRecord)
    return false;
  for (int32_t i = 0; i < count; ++i) {
    std::optional<Bytes> key;
    std::optional<Bytes> value;
    if (!reader.bytes(key) || !key || !reader.bytes(value)) return false;
    headers.push_back({as_text(*key), value});
  }
  return true;
}

// Everything in a record after its length; `body` is exactly that.
bool read_record_body(Bytes body, const BatchHeader& batch, RecordView& record,
                      std::vector<RecordHeader>& headers) {
  RecordReader reader{body.data(), body.data() + body.size()};
  int64_t timestamp_delta_ms = 0;
  int32_t header_count = 0;
  if (!reader.skip_byte()) return false;  // attributes: none are defined
  if (!reader.number(timestamp_delta_ms) || !reader.number(record.offset_delta)) return false;
  if (!reader.bytes(record.key) || !reader.bytes(record.value)) return false;
  if (!reader.number(header_count)) return false;
  headers.clear();
  if (header_count != 0 && !read_record_headers(reader, header_count, headers)) return false;
  record.headers = headers;
  record.offset = wrapping_add(batch.base_offset, record.offset_delta);
  record.timestamp_ms = batch.timestamp_type() == TimestampType::kLogAppendTime
                            ? batch.max_timestamp_ms
                            : wrapping_add(batch.base_timestamp_ms, timestamp_delta_ms);
  return reader.at == reader.end;
}

Result<void> for_each_in(Bytes records, const BatchHeader& batch,
                         const std::function<bool(const RecordView&)>& fn) {
  std::vector<RecordHeader> headers;
  RecordView record;
  const std::byte* at = records.data();
  const std::byte* const end = at + records.size();
  for (int32_t i = 0; i < batch.record_count; ++i) {
    RecordReader length{at, end};
    int32_t size = 0;
    if (!length.number(size) || size < 0 || size > end - length.at) {
      return invalid(fmt::format("Record {} of {} doesn't fit into its batch", i, batch.record_count));
    }
    const std::byte* const body = length.at;
    record.size_bytes = static_cast<size_t>(body - at) + static_cast<size_t>(size);
    if (!read_record_body(Bytes(body, static_cast<size_t>(size)), batch, record, headers)) {
      return invalid(fmt::format("Record {} of {} is malformed", i, batch.record_count));
    }
    if (!fn(record)) return {};
    at = body + size;
  }
  if (at != end) return invalid("Incorrect declared batch size, records still remaining in the batch");
  return {};
}

}  // namespace

int32_t BatchHeader::last_sequence() const {
  if (base_sequence == kNoSequence) return kNoSequence;
  const int64_t last = int64_t{base_sequence} + last_offset_delta;
  constexpr int64_t kMax = std::numeric_limits<int32_t>::max();
  return static_cast<int32_t>(last > kMax ? last - kMax - 1 : last);
}

Result<BatchHeader> peek_batch_header(Bytes at) {
  if (at.size() < BatchHeader::kSize) {
    return fail(ErrorCode::kCorruptMessage,
                fmt::format("{} bytes are too few for a record batch", at.size()));
  }
  BatchHeader header;
  header.magic = get<int8_t>(at, kMagicAt);
  if (header.magic != BatchHeader::kMagic) {
    return fail(ErrorCode::kCorruptMessage,
                fmt::format("Invalid magic found in record batch: {}", header.magic));
  }
  header.batch_length = get<int32_t>(at, kLengthAt);
  constexpr auto kMinLength = static_cast<int32_t>(BatchHeader::kSize - BatchHeader::kLengthOverhead);
  if (header.batch_length < kMinLength) {
    return fail(ErrorCode::kCorruptMessage,
                fmt::format("Record batch length {} is less than the minimum of {}", header.batch_length,
                            kMinLength));
  }
  header.base_offset = get<int64_t>(at, 0);
  header.partition_leader_epoch = get<int32_t>(at, kLeaderEpochAt);
  header.crc = get<uint32_t>(at, kCrcAt);
  header.attributes = get<int16_t>(at, kAttributesAt);
  header.last_offset_delta = get<int32_t>(at, kLastOffsetDeltaAt);
  header.base_timestamp_ms = get<int64_t>(at, kBaseTimestampAt);
  header.max_timestamp_ms = get<int64_t>(at, kMaxTimestampAt);
  header.producer_id = get<int64_t>(at, kProducerIdAt);
  header.producer_epoch = get<int16_t>(at, kProducerEpochAt);
  header.base_sequence = get<int32_t>(at, kBaseSequenceAt);
  header.record_count = get<int32_t>(at, kRecordCountAt);
  return header;
}

Result<BatchHeader> read_batch_header(Bytes batch) {
  auto header = peek_batch_header(batch);
  if (header && header->size_bytes() > batch.size()) {
    return fail(ErrorCode::kCorruptMessage,
                fmt::format("The record batch has {} bytes, of which only {} are there", header->size_bytes(),
                            batch.size()));
  }
  return header;
}

void write_batch_header(const BatchHeader& header, MutableBytes at) {
  put(at, 0, header.base_offset);
  put(at, kLengthAt, header.batch_length);
  put(at, kLeaderEpochAt, header.partition_leader_epoch);
  put(at, kMagicAt, header.magic);
  put(at, kCrcAt, header.crc);
  put(at, kAttributesAt, header.attributes);
  put(at, kLastOffsetDeltaAt, header.last_offset_delta);
  put(at, kBaseTimestampAt, header.base_timestamp_ms);
  put(at, kMaxTimestampAt, header.max_timestamp_ms);
  put(at, kProducerIdAt, header.producer_id);
  put(at, kProducerEpochAt, header.producer_epoch);
  put(at, kBaseSequenceAt, header.base_sequence);
  put(at, kRecordCountAt, header.record_count);
}

bool crc_matches(Bytes batch) { return crc_of(batch) == get<uint32_t>(batch, kCrcAt); }

void update_crc(MutableBytes batch) { put(batch, kCrcAt, crc_of(batch)); }

Result<void> for_each_record(Bytes batch, size_t decompress_limit,
                             const std::function<bool(const RecordView&)>& fn) {
  const auto header = read_batch_header(batch);
  if (!header) return std::unexpected(header.error());
  if (header->record_count < 0) return invalid(fmt::format("Invalid record count {}", header->record_count));
  const Bytes records = batch.first(header->size_bytes()).subspan(BatchHeader::kSize);
  if (header->compression() == Compression::kNone) return for_each_in(records, *header, fn);
  // Taken away while in use, so that `fn` may look into another batch.
  thread_local Buffer kept;
  Buffer decompressed = std::move(kept);
  auto done = decompress_into(header->compression(), records, decompress_limit, decompressed);
  if (done) done = for_each_in(decompressed, *header, fn);
  if (decompressed.capacity() <= kMaxKeptBufferSize) kept = std::move(decompressed);
  return done;
}

Result<size_t> for_each_batch(Bytes batches, const std::function<bool(const BatchHeader&, Bytes)>& fn) {
  size_t at = 0;
  while (batches.size() - at >= BatchHeader::kSize) {
    const auto header = peek_batch_header(batches.subspan(at));
    if (!header) return std::unexpected(header.error());
    const size_t size = header->size_bytes();
    if (size > batches.size() - at) break;
    if (!fn(*header, batches.subspan(at, size))) return at + size;
    at += size;
  }
  return at;
}

void set_base_offset(MutableBytes batch, int64_t base_offset) { put(batch, 0, base_offset); }

void set_partition_leader_epoch(MutableBytes batch, int32_t leader_epoch) {
  put(batch, kLeaderEpochAt, leader_epoch);
}

void set_max_timestamp(MutableBytes batch, TimestampType type, int64_t max_timestamp_ms) {
  const auto old_attributes = get<int16_t>(batch, kAttributesAt);
  const auto attributes =
      static_cast<int16_t>(type == TimestampType::kLogAppendTime ? old_attributes | kTimestampTypeBit
                                                                 : old_attributes & ~kTimestampTypeBit);
  if (attributes == old_attributes && get<int64_t>(batch, kMaxTimestampAt) == max_timestamp_ms) return;
  put(batch, kAttributesAt, attributes);
  put(batch, kMaxTimestampAt, max_timestamp_ms);
  update_crc(batch);
}

}  // namespace millrace::protocol
