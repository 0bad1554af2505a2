// The part of Segment that finds things.
#include <algorithm>

#include "storage/segment.h"

namespace millrace::storage {
namespace {

OffsetIndex::Reach reach(const MissingData* missing) {
  return missing == nullptr ? OffsetIndex::Reach::kDisk : OffsetIndex::Reach::kMemory;
}

bool is_missing(const Error& error) { return error.code == ErrorCode::kOperationNotAttempted; }

}  // namespace

KnownPositions& Segment::known() const {
  if (!known_) known_ = std::make_unique<KnownPositions>();
  return *known_;
}

Result<std::optional<BatchAt>> Segment::find(int64_t offset, MissingData* missing) const {
  if (offset >= next_offset()) return std::nullopt;
  const auto file = this->file(offset + 1);
  if (!file) return std::unexpected(file.error());
  if (missing != nullptr) missing->look_in(*file);
  const auto position = known().find(offset);
  if (position) return BatchCursor(**file, *position, size(), missing).next();
  const auto floor = floor_offset(offset, missing);
  if (!floor) return std::unexpected(floor.error());
  BatchCursor cursor(**file, floor->position, size(), missing);
  while (true) {
    auto batch = cursor.next();
    if (batch && *batch && (*batch)->header.last_offset() < offset) continue;
    if (batch && *batch && damaged_) {
      const auto is_misplaced = is_before_lower(**file, **batch, missing);
      if (!is_misplaced) return std::unexpected(is_misplaced.error());
      if (*is_misplaced) continue;
    }
    if (batch && *batch) known().note_read(offset, (*batch)->position);
    return batch;
  }
}

// Whether the batch behind this one has a lower offset: then it is this one's that is wrong, and what is
// looked for comes later.
Result<bool> Segment::is_before_lower(const File& file, const BatchAt& batch, MissingData* missing) const {
  const auto next = BatchCursor(file, batch.end_position(), size(), missing).next();
  if (!next && is_missing(next.error())) return std::unexpected(next.error());
  return next && *next && (*next)->header.base_offset < batch.header.base_offset;
}

Result<int64_t> Segment::position_of(int64_t offset, MissingData* missing) const {
  if (offset >= next_offset()) return size();
  if (offset == written_end_offset()) return written_size();
  if (const auto position = known().find(offset)) return *position;
  const auto batch = find(offset, missing);
  if (!batch) return std::unexpected(batch.error());
  return *batch ? (*batch)->position : size();
}

// The entry, if a batch stands where it says; else the segment's start.
Result<IndexEntry> Segment::checked(const Result<std::optional<IndexEntry>>& stored,
                                    MissingData* missing) const {
  if (!stored || !*stored) return start();
  const IndexEntry& entry = **stored;
  if (entry.position < 0 || entry.position >= size()) return start();
  const auto file = this->file(entry.position < written_size() ? written_end_offset() : kAllBatches);
  if (!file) return start();
  if (missing != nullptr) missing->look_in(*file);
  const auto batch = BatchCursor(**file, entry.position, size(), missing).next();
  if (!batch && is_missing(batch.error())) return std::unexpected(batch.error());
  return batch && *batch && (*batch)->header.base_offset == entry.offset ? entry : start();
}

Result<IndexEntry> Segment::floor_offset(int64_t offset, MissingData* missing) const {
  if (!entries_.empty() && entries_.front().offset <= offset) {
    const auto above =
        std::upper_bound(entries_.begin(), entries_.end(), offset,
                         [](int64_t wanted, const IndexEntry& entry) { return wanted < entry.offset; });
    return *std::prev(above);
  }
  const auto stored = index_.floor_offset(key_, offset, reach(missing));
  if (!stored && is_missing(stored.error())) return missing->need_offset(index_, key_, offset);
  return checked(stored, missing);
}

Result<IndexEntry> Segment::floor_timestamp(int64_t timestamp_ms, MissingData* missing) const {
  if (!entries_.empty() && entries_.front().max_timestamp_ms < timestamp_ms) {
    const auto not_below = std::lower_bound(
        entries_.begin(), entries_.end(), timestamp_ms,
        [](const IndexEntry& entry, int64_t wanted) { return entry.max_timestamp_ms < wanted; });
    return *std::prev(not_below);
  }
  const auto stored = index_.floor_timestamp(key_, timestamp_ms, reach(missing));
  if (!stored && is_missing(stored.error())) return missing->need_timestamp(index_, key_, timestamp_ms);
  return checked(stored, missing);
}

}  // namespace millrace::storage
