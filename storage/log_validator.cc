#include "storage/log_validator.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "protocol/batch_builder.h"

namespace millrace::storage {
namespace {

using protocol::BatchBuilder;
using protocol::BatchHeader;
using protocol::BatchOptions;
using protocol::Compression;
using protocol::RecordView;
using protocol::TimestampType;

// The smallest batch of any magic, and what Kafka must see of one to tell its size and magic.
constexpr int32_t kMinBatchLength = 14;
constexpr size_t kMagicAt = 16;
// A response names no more refused records than this; one batch could hold a million.
constexpr size_t kMaxRecordErrors = 1000;
constexpr size_t kShownRecordErrors = 3;
constexpr int16_t kFirstVersionWithZstd = 7;

// Java's arithmetic on longs.
int64_t wrapping_subtract(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
}
int64_t wrapping_add(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}

template <class... Args>
std::unexpected<Error> invalid(fmt::format_string<Args...> text, Args&&... args) {
  return fail(ErrorCode::kInvalidRecord, fmt::format(text, std::forward<Args>(args)...));
}

struct BatchAtFront {
  size_t size;  // 0: no whole batch
  int8_t magic;
};

// Tells batches apart as Kafka does, which ends quietly at an incomplete one.
Result<BatchAtFront> front_of(Bytes records) {
  if (records.size() < BatchHeader::kLengthOverhead) return BatchAtFront{0, 0};
  uint32_t length_bits = 0;
  for (size_t at = 8; at < BatchHeader::kLengthOverhead; ++at) {
    length_bits = length_bits << 8 | std::to_integer<uint32_t>(records[at]);
  }
  const auto length = static_cast<int32_t>(length_bits);
  if (length < kMinBatchLength) {
    return fail(
        ErrorCode::kCorruptMessage,
        fmt::format("Record size {} is less than the minimum record overhead ({})", length, kMinBatchLength));
  }
  if (records.size() <= kMagicAt) return BatchAtFront{0, 0};
  const auto magic = std::to_integer<int8_t>(records[kMagicAt]);
  if (magic < 0 || magic > BatchHeader::kMagic) {
    return fail(ErrorCode::kCorruptMessage, fmt::format("Invalid magic found in record: {}", magic));
  }
  const size_t size = BatchHeader::kLengthOverhead + static_cast<size_t>(length);
  return BatchAtFront{size <= records.size() ? size : 0, magic};
}

// Size and checksum (but of what has just been made), and that a client lets us give the offsets.
Result<BatchHeader> check_outside(Bytes batch, const ValidationOptions& options) {
  auto header = protocol::read_batch_header(batch);
  if (!header) return header;
  if (options.origin == AppendOrigin::kClient && header->base_offset != 0) {
    return invalid("The baseOffset of the record batch in the append to {} should be 0, but it is {}",
                   options.partition_name, header->base_offset);
  }
  if (header->size_bytes() > options.max_message_bytes) {
    return fail(ErrorCode::kMessageTooLarge,
                fmt::format("The record batch size in the append to {} is {} bytes which exceeds the maximum "
                            "configured value of {}.",
                            options.partition_name, header->size_bytes(), options.max_message_bytes));
  }
  if (options.origin == AppendOrigin::kClient && !protocol::crc_matches(batch)) {
    return fail(ErrorCode::kCorruptMessage,
                fmt::format("Record is corrupt (stored crc = {}) in topic partition {}.", header->crc,
                            options.partition_name));
  }
  return header;
}

Result<> check_header(const BatchHeader& header, const ValidationOptions& options) {
  if (!header.compression_known()) {
    return fail(ErrorCode::kUnsupportedCompressionType,
                fmt::format("Unknown compression type id: {}", static_cast<int>(header.compression())));
  }
  const auto name = options.partition_name;
  const int64_t offsets = int64_t{header.last_offset_delta} + 1;
  if (offsets <= 0) {
    return invalid("Batch has an invalid offset range: [{}, {}] in topic partition {}", header.base_offset,
                   header.last_offset(), name);
  }
  if (header.record_count <= 0) {
    return invalid("Invalid reported count for record batch: {} in topic partition {}", header.record_count,
                   name);
  }
  if (offsets != header.record_count) {
    return invalid("Inconsistent batch offset range [{}, {}] and count of records {} in topic partition {}",
                   header.base_offset, header.last_offset(), header.record_count, name);
  }
  if (options.origin != AppendOrigin::kClient) return {};
  if (header.is_control()) {
    return invalid("Clients are not allowed to write control records in topic partition {}", name);
  }
  if (header.has_producer_id() && header.base_sequence < 0) {
    return invalid("Invalid sequence number {} in record batch with producerId {} in topic partition {}",
                   header.base_sequence, header.producer_id, name);
  }
  return {};
}

// One pass over the records: what is wrong with each, and what the header must say about all.
class RecordChecker {
 public:
  RecordChecker(const ValidationOptions& options, const BatchHeader& header)
      : options_(options), header_(header) {}

  void check(const RecordView& record) {
    if (options_.compacted && !record.key) {
      refuse(ErrorCode::kInvalidRecord, [&] {
        return fmt::format("Compacted topic cannot accept message without key in topic partition {}",
                           options_.partition_name);
      });
    } else {
      check_timestamp(record);
    }
    if (record.timestamp_ms > max_timestamp_ms_) {
      max_timestamp_ms_ = record.timestamp_ms;
      index_of_max_timestamp_ = index_;
    }
    sequential_ = sequential_ && record.offset_delta == index_;
    ++index_;
  }

  // Whether the offsets inside are 0, 1, 2...: they follow from the base offset alone then.
  bool sequential() const { return sequential_; }
  int64_t max_timestamp_ms() const { return max_timestamp_ms_; }
  int32_t index_of_max_timestamp() const { return index_of_max_timestamp_; }

  std::optional<AppendError> error() {
    if (refused_ == 0) return std::nullopt;
    if (any_bad_timestamp_) {
      return AppendError(
          {ErrorCode::kInvalidTimestamp, "One or more records have been rejected due to invalid timestamp"},
          std::move(errors_));
    }
    std::string shown;
    for (size_t i = 0; i < std::min(errors_.size(), kShownRecordErrors); ++i) {
      shown += fmt::format("{}RecordError(batchIndex={}, message='{}')", i == 0 ? "" : ", ",
                           errors_[i].batch_index, errors_[i].message);
    }
    return AppendError(
        {ErrorCode::kInvalidRecord,
         fmt::format("One or more records have been rejected due to {} record errors in total, and only "
                     "showing the first three errors at most: [{}]",
                     refused_, shown)},
        std::move(errors_));
  }

 private:
  template <class MakeMessage>
  void refuse(ErrorCode code, const MakeMessage& message) {
    ++refused_;
    any_bad_timestamp_ = any_bad_timestamp_ || code == ErrorCode::kInvalidTimestamp;
    if (errors_.size() < kMaxRecordErrors) errors_.push_back({index_, message()});
  }

  void check_timestamp(const RecordView& record) {
    if (options_.timestamp_type == TimestampType::kCreateTime &&
        record.timestamp_ms != protocol::kNoTimestamp) {
      const int64_t ahead_ms = wrapping_subtract(record.timestamp_ms, options_.now_ms);
      const bool too_late = ahead_ms > options_.timestamp_after_max_ms;
      const bool too_early = wrapping_subtract(0, ahead_ms) > options_.timestamp_before_max_ms;
      if (!too_late && !too_early) return;
      refuse(ErrorCode::kInvalidTimestamp, [&] {
        return fmt::format(
            "Timestamp {} of message with offset {} is out of range. The timestamp should be within [{}, {}]",
            record.timestamp_ms, record.offset,
            wrapping_subtract(options_.now_ms, options_.timestamp_before_max_ms),
            wrapping_add(options_.now_ms, options_.timestamp_after_max_ms));
      });
    } else if (header_.timestamp_type() == TimestampType::kLogAppendTime) {
      refuse(ErrorCode::kInvalidTimestamp, [&] {
        return fmt::format(
            "Invalid timestamp type in message DefaultRecord(offset={}, timestamp={}, key={} bytes, value={} "
            "bytes). "
            "Producer should not set timestamp type to LogAppendTime.",
            record.offset, record.timestamp_ms, record.key.value_or(Bytes{}).size(),
            record.value.value_or(Bytes{}).size());
      });
    }
  }

  const ValidationOptions& options_;
  const BatchHeader& header_;
  int32_t index_ = 0;
  bool sequential_ = true;
  int64_t max_timestamp_ms_ = protocol::kNoTimestamp;
  int32_t index_of_max_timestamp_ = -1;
  size_t refused_ = 0;
  bool any_bad_timestamp_ = false;
  std::vector<RecordError> errors_;
};

// Kafka takes a batch that claims LogAppendTime on a CreateTime topic (unless its time is -1), checks that
// claimed time and then stores the records with their own. We look at their own to begin with, or the
// header's max timestamp would contradict the records.
void use_own_timestamps(MutableBytes batch, BatchHeader& header) {
  if (header.timestamp_type() == TimestampType::kCreateTime ||
      header.max_timestamp_ms == protocol::kNoTimestamp)
    return;
  protocol::set_max_timestamp(batch, TimestampType::kCreateTime, header.max_timestamp_ms);
  header = *protocol::peek_batch_header(batch);
}

// The same records in a new batch: another codec, or offsets that follow each other.
Result<Buffer> rewrite(Bytes batch, const BatchHeader& header, Compression codec,
                       const ValidationOptions& options) {
  BatchOptions wanted;
  wanted.base_offset = options.base_offset;
  wanted.partition_leader_epoch = options.leader_epoch;
  wanted.compression = codec;
  wanted.compression_level = options.compression_level;
  wanted.timestamp_type = options.timestamp_type;
  wanted.log_append_time_ms = options.now_ms;
  wanted.producer_id = header.producer_id;
  wanted.producer_epoch = header.producer_epoch;
  wanted.base_sequence = header.base_sequence;
  wanted.transactional = header.is_transactional();
  wanted.control = header.is_control();
  BatchBuilder builder(wanted);
  auto read = protocol::for_each_record(batch, options.decompress_limit, [&](const RecordView& record) {
    builder.append(record.key, record.value, record.headers, record.timestamp_ms);
    return true;
  });
  if (!read) return std::unexpected(std::move(read.error()));
  return builder.build();
}

Result<> check_written_size(size_t size, bool rewritten, const ValidationOptions& options) {
  if (rewritten && size > options.max_message_bytes) {
    return fail(
        ErrorCode::kMessageTooLarge,
        fmt::format("Message batch size is {} bytes in append to partition {} which exceeds the maximum "
                    "configured size of {}.",
                    size, options.partition_name, options.max_message_bytes));
  }
  if (size > options.segment_bytes) {
    return fail(
        ErrorCode::kRecordListTooLarge,
        fmt::format("Message batch size is {} bytes in append to partition {}, which exceeds the maximum "
                    "configured segment size of {}.",
                    size, options.partition_name, options.segment_bytes));
  }
  return {};
}

Result<MutableBytes> only_batch_of(MutableBytes records) {
  const auto front = front_of(records);
  if (!front) return std::unexpected(front.error());
  if (front->size == 0) return invalid("Record batch has no batches at all");
  if (front->magic != BatchHeader::kMagic)
    return invalid("Only record batches with magic version 2 can be appended");
  const auto next = front_of(records.subspan(front->size));
  if (!next) return std::unexpected(next.error());
  if (next->size != 0) return invalid("Compressed outer record has more than one batch");
  return records.first(front->size);
}

// Whether the batch as it came can go to the log, but for its header's fields. Kafka doesn't look at the
// offsets inside uncompressed batches; we would rather not store ones that contradict the header.
bool keeps_its_records(const BatchHeader& header, Compression target, const RecordChecker& records) {
  if (!records.sequential()) return false;
  if (header.compression() == target) return true;
  return header.compression() == Compression::kNone && header.is_control();
}

// Whether more than the header's fields may have to change in what the group coordinator appends.
bool changes_records(const ValidationOptions& options) {
  return options.timestamp_type != TimestampType::kCreateTime ||
         options.compression.value_or(Compression::kNone) != Compression::kNone;
}

std::expected<ValidatedBatch, AppendError> validated_unseen(MutableBytes batch, const BatchHeader& header,
                                                            const ValidationOptions& options) {
  if (auto fits = check_written_size(batch.size(), false, options); !fits)
    return std::unexpected(std::move(fits.error()));
  protocol::set_base_offset(batch, options.base_offset);
  protocol::set_partition_leader_epoch(batch, options.leader_epoch);
  ValidatedBatch result;
  result.bytes = batch;
  result.header = header;
  result.header.base_offset = options.base_offset;
  result.header.partition_leader_epoch = options.leader_epoch;
  result.max_timestamp_ms = header.max_timestamp_ms;
  result.offset_of_max_timestamp = options.base_offset;
  return result;
}

}  // namespace

Result<> validate_produce_records(std::optional<Bytes> records, int16_t produce_version) {
  const auto first = front_of(records.value_or(Bytes{}));
  if (!first) return std::unexpected(first.error());
  if (first->size == 0) {
    return invalid("Produce requests with version {} must have at least one record batch per partition",
                   produce_version);
  }
  if (first->magic != BatchHeader::kMagic) {
    return invalid(
        "Produce requests with version {} are only allowed to contain record batches with magic version 2",
        produce_version);
  }
  const auto header = protocol::read_batch_header(*records);
  if (!header) return std::unexpected(header.error());
  if (produce_version < kFirstVersionWithZstd && header->compression() == Compression::kZstd) {
    return fail(ErrorCode::kUnsupportedCompressionType,
                fmt::format("Produce requests with version {} are not allowed to use ZStandard compression",
                            produce_version));
  }
  const auto second = front_of(records->subspan(first->size));
  if (!second) return std::unexpected(second.error());
  if (second->size != 0) {
    return invalid(
        "Produce requests with version {} are only allowed to contain exactly one record batch per partition",
        produce_version);
  }
  return {};
}

std::expected<ValidatedBatch, AppendError> validate_for_append(MutableBytes records,
                                                               const ValidationOptions& options) {
  const auto batch = only_batch_of(records);
  if (!batch) return std::unexpected(batch.error());
  auto header = check_outside(*batch, options);
  if (!header) return std::unexpected(header.error());
  if (auto fine = check_header(*header, options); !fine) return std::unexpected(std::move(fine.error()));
  if (options.origin == AppendOrigin::kCoordinator && !changes_records(options)) {
    return validated_unseen(*batch, *header, options);
  }
  if (options.timestamp_type == TimestampType::kCreateTime) use_own_timestamps(*batch, *header);

  RecordChecker checker(options, *header);
  auto read = protocol::for_each_record(*batch, options.decompress_limit, [&](const RecordView& record) {
    checker.check(record);
    return true;
  });
  if (!read) return std::unexpected(std::move(read.error()));
  if (auto error = checker.error()) return std::unexpected(std::move(*error));

  const bool append_time = options.timestamp_type == TimestampType::kLogAppendTime;
  const Compression target = options.compression.value_or(header->compression());
  ValidatedBatch result;
  if (keeps_its_records(*header, target, checker)) {
    protocol::set_base_offset(*batch, options.base_offset);
    protocol::set_partition_leader_epoch(*batch, options.leader_epoch);
    protocol::set_max_timestamp(*batch, options.timestamp_type,
                                append_time ? options.now_ms : checker.max_timestamp_ms());
    result.bytes = *batch;
  } else {
    auto rewritten = rewrite(*batch, *header, target, options);
    if (!rewritten) return std::unexpected(std::move(rewritten.error()));
    result.rewritten = std::move(*rewritten);
    result.bytes = result.rewritten;
  }
  if (auto fits = check_written_size(result.bytes.size(), !result.rewritten.empty(), options); !fits) {
    return std::unexpected(std::move(fits.error()));
  }
  result.header = *protocol::peek_batch_header(result.bytes);
  if (append_time) result.log_append_time_ms = options.now_ms;
  result.max_timestamp_ms = result.header.max_timestamp_ms;
  const int32_t index_of_max = append_time ? 0 : checker.index_of_max_timestamp();
  if (index_of_max >= 0) result.offset_of_max_timestamp = options.base_offset + index_of_max;
  return result;
}

}  // namespace millrace::storage
