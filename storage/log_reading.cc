// The part of Log that reads.
#include <fmt/format.h>

#include <algorithm>

#include "storage/log.h"

namespace millrace::storage {
namespace {

using protocol::RecordView;

// As much as validate_for_append lets a batch become.
constexpr size_t kDecompressLimit = size_t{64} << 20;

// Which a search by time looks at in one go. Where there are more, who mustn't wait has them looked at.
constexpr int kHeadersAtOnce = 256;

// The first record of a batch with at least this timestamp and offset.
Result<std::optional<TimestampOffset>> find_record(const File& file, const BatchAt& at, int64_t timestamp_ms,
                                                   int64_t offset, MissingData* missing) {
  const auto batch = read_batch(file, at, missing);
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

// Whether it is this damage that ends what may be read of the segment: its position is known, and can't be
// found by the headers if one of them is what is damaged.
bool ends_at(const DamagedRange* damage, const Segment& segment, int64_t end_offset) {
  return damage != nullptr && damage->first_offset == end_offset && damage->file == segment.path();
}

// Up to where a file can be read that is, or was, shorter than it should be; at most `end`. The batch at
// `begin` must be whole.
Result<int64_t> end_of_the_rest(const File& file, int64_t begin, int64_t end) {
  const auto size = file.size();
  if (!size || *size >= end) return size ? end : size;
  const auto first = BatchCursor(file, begin, *size).next();
  if (first && *first) return *size;
  return fail(ErrorCode::kCorruptMessage,
              fmt::format("{} was cut off: it ends at byte {}, and should have at least {}; restore it",
                          file.path(), *size, end));
}

}  // namespace

Result<FileSlice> Log::read(int64_t offset, int64_t end_offset, size_t max_bytes, bool at_least_one_batch,
                            MissingData* missing) const {
  if (offset < log_start_offset_ || offset > log_end_offset_) {
    return fail(ErrorCode::kOffsetOutOfRange, fmt::format("{} has offsets {} to {}, not {}", name_,
                                                          log_start_offset_, log_end_offset_, offset));
  }
  end_offset = std::min(end_offset, log_end_offset_);
  if (const DamagedRange* damage = damages_.covering(offset)) {
    return fail(
        ErrorCode::kCorruptMessage,
        fmt::format("offsets {} to {} of {} are damaged: {} at byte {}: {}; `millrace log verify` tells more",
                    damage->first_offset, damage->end_offset - 1, name_, damage->file, damage->position,
                    damage->what));
  }
  const DamagedRange* const damage = damages_.next_above(offset);
  if (damage != nullptr) end_offset = std::min(end_offset, damage->first_offset);
  for (size_t i = segments_.floor(offset); i < segments_.count() && offset < end_offset; ++i) {
    const Segment& segment = segments_.at(i);
    // Beyond its last batch: the next segment has the first one at or above `offset`.
    if (segment.next_offset() <= offset) continue;
    if (segment.base_offset() >= end_offset) break;
    auto file = segments_.file(i, recovery_point_, offset + 1);
    if (!file) return std::unexpected(file.error());
    const auto begin = segment.position_of(offset, missing);
    if (!begin) return std::unexpected(begin.error());
    if (*begin >= segment.size()) continue;
    if (segment.written_size() < segment.size() && end_offset > segment.written_end_offset()) {
      // What is held back is written for those who come so far. A disk that refuses it keeps nobody from the
      // rest.
      const bool is_enough = *begin + static_cast<int64_t>(max_bytes) <= segment.written_size();
      if (!is_enough) (void)segment.file(end_offset);
      end_offset = std::min(end_offset, segment.written_end_offset());
    }
    // The batch that holds end_offset isn't wholly below it, so the part that may be read ends before it.
    auto end =
        ends_at(damage, segment, end_offset) ? damage->position : segment.position_of(end_offset, missing);
    if (!end) return std::unexpected(end.error());
    if (*end > (*file)->found_end()) {
      end = end_of_the_rest(**file, *begin, *end);
      if (!end) return std::unexpected(end.error());
    }
    if (*end <= *begin) break;
    const auto available = static_cast<size_t>(*end - *begin);
    size_t size = std::min(available, max_bytes);
    if (size < available) {
      const auto first = segment.find(offset, missing);
      if (!first) return std::unexpected(first.error());
      const size_t whole = *first ? (*first)->header.size_bytes() : available;
      if (size < whole && !at_least_one_batch) break;
      size = std::max(size, whole);
    }
    return FileSlice{std::move(*file), *begin, size};
  }
  return FileSlice{};
}

// Where in the segment a search by time begins: behind what is older, and behind what was deleted.
Result<int64_t> Log::search_floor(const Segment& segment, int64_t timestamp_ms, MissingData* missing) const {
  const auto by_time = segment.floor_timestamp(timestamp_ms, missing);
  if (!by_time) return std::unexpected(by_time.error());
  if (segment.base_offset() >= log_start_offset_) return by_time->position;
  const auto by_offset = segment.floor_offset(log_start_offset_, missing);
  if (!by_offset) return std::unexpected(by_offset.error());
  return std::max(by_time->position, by_offset->position);
}

Result<std::optional<TimestampOffset>> Log::offset_for_timestamp(int64_t timestamp_ms,
                                                                 MissingData* missing) const {
  for (size_t i = segments_.floor(log_start_offset_); i < segments_.count(); ++i) {
    const Segment& segment = segments_.at(i);
    if (segment.max_timestamp_ms() < timestamp_ms || segment.size() == 0) continue;
    const auto file = segments_.file(i, recovery_point_, segment.base_offset());
    if (!file) return std::unexpected(file.error());
    // A disk that refuses what is held back keeps nobody from finding the rest.
    const auto written = segment.file();
    const auto floor = search_floor(segment, timestamp_ms, missing);
    if (!floor) return std::unexpected(floor.error());
    TimestampSearch search{.timestamp_ms = timestamp_ms,
                           .from_offset = log_start_offset_,
                           .path = segment.path(),
                           .changes = truncations_ + swaps_,
                           .position = *floor,
                           .end = segment.written_size()};
    if (missing != nullptr) {
      missing->look_in(*file);
      search.position = missing->searched_to(search);
    }
    BatchCursor cursor(**file, search.position, search.end, missing);
    for (int headers = 0;; ++headers) {
      search.position = cursor.position();
      if (missing != nullptr && headers == kHeadersAtOnce) return missing->need_search(std::move(search));
      const auto batch = cursor.next();
      if (!batch && missing != nullptr && *missing) return missing->need_search(std::move(search));
      if (!batch) return std::unexpected(batch.error());
      if (!*batch) break;
      if (!may_have((*batch)->header, timestamp_ms, log_start_offset_)) continue;
      const auto record = find_record(**file, **batch, timestamp_ms, log_start_offset_, missing);
      if (!record || *record) return record;
    }
    if (!written) return std::unexpected(written.error());
  }
  return std::nullopt;
}

Result<std::optional<TimestampOffset>> Log::max_timestamp(MissingData* missing) const {
  if (segments_.empty()) return std::nullopt;  // went offline in a truncation
  size_t best = 0;
  for (size_t i = 1; i < segments_.count(); ++i) {
    if (segments_.at(i).max_timestamp_ms() > segments_.at(best).max_timestamp_ms()) best = i;
  }
  const Segment& segment = segments_.at(best);
  if (segment.max_timestamp_ms() < 0) return std::nullopt;
  const auto file = segments_.file(best, recovery_point_, segment.max_timestamp_offset() + 1);
  if (!file) return std::unexpected(file.error());
  const auto batch = segment.find(segment.max_timestamp_offset(), missing);
  if (!batch) return std::unexpected(batch.error());
  if (!*batch) return std::nullopt;
  return find_record(**file, **batch, segment.max_timestamp_ms(), 0, missing);
}

std::vector<SealedSegment> Log::sealed_segments() const {
  std::vector<SealedSegment> sealed;
  for (size_t i = 0; i + 1 < segments_.count(); ++i) {
    const Segment& segment = segments_.at(i);
    if (segment.next_offset() > recovery_point_) return sealed;
    if (segment.size() == 0) continue;
    sealed.push_back({.path = segment.path(),
                      .base_offset = segment.base_offset(),
                      .end_offset = segments_.at(i + 1).base_offset(),
                      .size = segment.size(),
                      .may_have_holes = may_have_holes_,
                      .changes = truncations_});
  }
  if (segments_.empty()) return sealed;
  const Segment& active = segments_.active();
  if (const auto part = active.covered(); part && part->size > 0) {
    sealed.push_back({.path = active.path(),
                      .base_offset = part->base_offset,
                      .end_offset = part->next_offset,
                      .size = part->size,
                      .is_part = true,
                      .may_have_holes = may_have_holes_,
                      .changes = truncations_ + swaps_});
  }
  return sealed;
}

bool Log::note_damage(const SealedSegment& segment, DamagedRange range, int64_t now_ms) {
  const uint64_t changes = segment.is_part ? truncations_ + swaps_ : truncations_;
  if (segments_.empty() || changes != segment.changes || range.end_offset <= log_start_offset_) return false;
  const size_t at = segments_.floor(segment.base_offset);
  Segment& damaged = segments_.at(at);
  if (damaged.base_offset() != segment.base_offset) return false;
  if (segment.is_part ? damaged.size() < segment.size : damaged.size() != segment.size) return false;
  const bool is_active = at + 1 == segments_.count();
  if (segment.is_part && range.is_endless)
    range.end_offset = is_active ? log_end_offset_ : segments_.at(at + 1).base_offset();
  if (!damages_.add(std::move(range))) return false;
  // Without the checkpoint's word a start would take the damage for a torn tail, and cut it off: then the
  // index had better go on covering it.
  if (is_active && !roll(now_ms)) return true;
  if (checkpointed_recovery_point_ < segment.end_offset && !store_checkpoint()) return true;
  damaged.mark_damaged();
  return true;
}

}  // namespace millrace::storage
