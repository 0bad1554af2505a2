// The part of Log that reads.
#include <fmt/format.h>

#include <algorithm>

#include "storage/log.h"

namespace millrace::storage {
namespace {

using protocol::RecordView;

// As much as validate_for_append lets a batch become.
constexpr size_t kDecompressLimit = size_t{64} << 20;

// The first batch from `start` on that holds `offset` or lies beyond it.
Result<std::optional<BatchAt>> find_offset(const File& file, const Segment& segment, int64_t offset) {
  BatchCursor cursor(file, segment.floor_offset(offset).position, segment.size());
  while (true) {
    auto batch = cursor.next();
    if (!batch || !*batch || (*batch)->header.last_offset() >= offset) return batch;
  }
}

// The first record of a batch with at least this timestamp and offset.
Result<std::optional<TimestampOffset>> find_record(const File& file, const BatchAt& at, int64_t timestamp_ms,
                                                   int64_t offset) {
  const auto batch = read_batch(file, at);
  if (!batch) return std::unexpected(batch.error());
  std::optional<TimestampOffset> found;
  const auto walked = protocol::for_each_record(*batch, kDecompressLimit, [&](const RecordView& record) {
    if (record.timestamp_ms < timestamp_ms || record.offset < offset) return true;
    found = TimestampOffset{record.timestamp_ms, record.offset, at.header.partition_leader_epoch};
    return false;
  });
  if (!walked) {
    return fail(walked.error().code,
                fmt::format("{} at byte {}: {}", file.path(), at.position, walked.error().message));
  }
  return found;
}

}  // namespace

Result<int64_t> Log::end_position(const Segment& segment, const File& file, int64_t end_offset) const {
  if (end_offset >= segment.next_offset()) return segment.size();
  // The batch that holds end_offset isn't wholly below it, so the part that may be read ends before it.
  const auto batch = find_offset(file, segment, end_offset);
  if (!batch) return std::unexpected(batch.error());
  return *batch ? (*batch)->position : segment.size();
}

Result<LogSlice> Log::read(int64_t offset, int64_t end_offset, size_t max_bytes,
                           bool at_least_one_batch) const {
  if (offset < log_start_offset_ || offset > log_end_offset_) {
    return fail(ErrorCode::kOffsetOutOfRange, fmt::format("{} has offsets {} to {}, not {}", name_,
                                                          log_start_offset_, log_end_offset_, offset));
  }
  end_offset = std::min(end_offset, log_end_offset_);
  for (size_t i = segments_.floor(offset); i < segments_.count() && offset < end_offset; ++i) {
    const Segment& segment = segments_.at(i);
    // Beyond its last batch: the next segment has the first one at or above `offset`.
    if (segment.next_offset() <= offset) continue;
    if (segment.base_offset() >= end_offset) break;
    auto file = segments_.file(i, recovery_point_);
    if (!file) return std::unexpected(file.error());
    const auto first = find_offset(**file, segment, offset);
    if (!first) return std::unexpected(first.error());
    if (!*first) continue;
    const auto end = end_position(segment, **file, end_offset);
    if (!end) return std::unexpected(end.error());
    const BatchAt& batch = **first;
    if (*end <= batch.position) break;
    size_t size = std::min<size_t>(static_cast<size_t>(*end - batch.position), max_bytes);
    if (size < batch.header.size_bytes()) {
      if (!at_least_one_batch) break;
      size = batch.header.size_bytes();
    }
    return LogSlice{{std::move(*file), batch.position, size}, batch.header.base_offset};
  }
  return LogSlice{};
}

Result<std::optional<TimestampOffset>> Log::offset_for_timestamp(int64_t timestamp_ms) const {
  for (size_t i = segments_.floor(log_start_offset_); i < segments_.count(); ++i) {
    const Segment& segment = segments_.at(i);
    if (segment.max_timestamp_ms() < timestamp_ms || segment.size() == 0) continue;
    const auto file = segments_.file(i, recovery_point_);
    if (!file) return std::unexpected(file.error());
    BatchCursor cursor(**file, segment.floor_timestamp(timestamp_ms).position, segment.size());
    while (true) {
      const auto batch = cursor.next();
      if (!batch) return std::unexpected(batch.error());
      if (!*batch) break;
      const auto& header = (*batch)->header;
      if (header.max_timestamp_ms < timestamp_ms || header.last_offset() < log_start_offset_) continue;
      const auto record = find_record(**file, **batch, timestamp_ms, log_start_offset_);
      if (!record || *record) return record;
    }
  }
  return std::nullopt;
}

Result<std::optional<TimestampOffset>> Log::max_timestamp() const {
  if (segments_.empty()) return std::nullopt;  // went offline in a truncation
  size_t best = 0;
  for (size_t i = 1; i < segments_.count(); ++i) {
    if (segments_.at(i).max_timestamp_ms() > segments_.at(best).max_timestamp_ms()) best = i;
  }
  const Segment& segment = segments_.at(best);
  if (segment.max_timestamp_ms() < 0) return std::nullopt;
  const auto file = segments_.file(best, recovery_point_);
  if (!file) return std::unexpected(file.error());
  const auto batch = find_offset(**file, segment, segment.max_timestamp_offset());
  if (!batch) return std::unexpected(batch.error());
  if (!*batch) return std::nullopt;
  return find_record(**file, **batch, segment.max_timestamp_ms(), 0);
}

}  // namespace millrace::storage
