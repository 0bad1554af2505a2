// The part of Log that chooses what is compacted and takes in what came of it.
//
// The swap is crash-safe by these steps. The new file has the name of the oldest that it replaces, so one
// rename puts it in its place, and since it ends at the offset where the last of them ended, every other one
// lies within it from then on. Before the rename the checkpoint says durably which offsets are being merged;
// the others' names go only when the rename is durable. So a start finds the old files, or the new one, or
// the new one and some of the others, which the checkpoint tells it to drop. Without the checkpoint's word,
// segments that overlap are damage.
#include <fmt/format.h>

#include <algorithm>

#include "storage/log.h"
#include "storage/merge_leftover.h"

namespace millrace::storage {

int64_t Log::first_dirty_offset() const {
  const auto stored = cleaner_checkpoint_->first_dirty_offset();
  // Beyond the end: the checkpoint is of another history. Nothing is known to be clean then.
  if (!stored || *stored > log_end_offset_) return log_start_offset_;
  return std::max(*stored, log_start_offset_);
}

Result<int64_t> Log::newest_timestamp(const Segment& segment) const {
  if (segment.max_timestamp_ms() >= 0) return segment.max_timestamp_ms();
  const auto status = files_.status(segment.path());
  if (!status) return std::unexpected(status.error());
  return status->modified_ms;
}

Result<std::optional<CleanableRange>> Log::cleanable(int64_t now_ms, int64_t high_watermark) const {
  const LogConfig& config = options_.config;
  if (!config.compact || is_offline() || segments_.empty()) return std::nullopt;
  CleanableRange range;
  range.first_dirty_offset = first_dirty_offset();
  const int64_t bound = std::min(high_watermark, first_unstable_offset().value_or(LogConfig::kNever));
  int64_t oldest_dirty_ms = LogConfig::kNever;
  for (size_t i = 0; i + 1 < segments_.count(); ++i) {
    const Segment& segment = segments_.at(i);
    if (segments_.at(i + 1).base_offset() <= range.first_dirty_offset) {
      range.clean_bytes += segment.size();
      continue;
    }
    if (segment.next_offset() > bound) break;
    if (config.min_compaction_lag_ms > 0) {
      const auto newest_ms = newest_timestamp(segment);
      if (!newest_ms) return std::unexpected(newest_ms.error());
      if (*newest_ms > now_ms - config.min_compaction_lag_ms) break;
    }
    if (segment.base_offset() < range.first_dirty_offset) range.clean_bytes += segment.size();
    range.dirty_bytes += segment.size();
    range.end_offset = segments_.at(i + 1).base_offset();
    if (segment.first_timestamp_ms() > 0)
      oldest_dirty_ms = std::min(oldest_dirty_ms, segment.first_timestamp_ms());
  }
  if (range.dirty_bytes == 0) return std::nullopt;
  if (config.max_compaction_lag_ms < now_ms)
    range.overdue_ms = std::max<int64_t>(now_ms - config.max_compaction_lag_ms - oldest_dirty_ms, 0);
  return range;
}

CompactionPlan Log::plan_compaction(const CleanableRange& range, int64_t now_ms) const {
  CompactionPlan plan;
  plan.directory = options_.directory;
  plan.first_dirty_offset = range.first_dirty_offset;
  for (size_t i = 0; i + 1 < segments_.count() && segments_.at(i).base_offset() < range.end_offset; ++i) {
    const Segment& segment = segments_.at(i);
    plan.sources.push_back({segment.path(), segment.base_offset(), segment.next_offset(), segment.size()});
  }
  for (const ProducerEntry& producer : producers_.list())
    plan.producers.emplace(producer.producer_id, producer.last_offset());
  plan.now_ms = now_ms;
  plan.delete_retention_ms = options_.config.delete_retention_ms;
  plan.segment_bytes = options_.config.segment_bytes;
  plan.index_interval_bytes = options_.config.index_interval_bytes;
  plan.version = cleaner_checkpoint_->version();
  return plan;
}

// Where in the list the segments stand that a new one replaces; nullopt when they aren't all there as they
// were.
std::optional<size_t> Log::position_of(const CompactedSegment& segment) const {
  const size_t first = segments_.floor(segment.sources.front().base_offset);
  if (first + segment.sources.size() >= segments_.count()) return std::nullopt;
  for (size_t i = 0; i < segment.sources.size(); ++i) {
    const Segment& now = segments_.at(first + i);
    const CompactionSource& then = segment.sources[i];
    if (now.base_offset() != then.base_offset || now.size() != then.size ||
        now.next_offset() != then.next_offset) {
      return std::nullopt;
    }
  }
  return first;
}

bool Log::has_changed_since(const CompactionPlan& plan) const {
  return is_offline() || segments_.empty() || plan.version != cleaner_checkpoint_->version() ||
         segments_.oldest().base_offset() != plan.sources.front().base_offset;
}

bool Log::may_swap(const CompactionPlan& plan, const CompactedSegment& segment) const {
  return !has_changed_since(plan) && position_of(segment).has_value();
}

Result<> Log::prepare_swap(const CompactedSegment& segment, int64_t now_ms) {
  if (auto dropped = drop_merged_away(now_ms); !dropped) return dropped;
  const auto first = position_of(segment);
  for (size_t i = 0; first && i < segment.sources.size(); ++i) segments_.at(*first + i).unseal();
  return {};
}

void Log::abandon_compaction(const CompactedSegment& segment) {
  for (const CompactionSource& source : segment.sources) {
    const size_t at = segments_.floor(source.base_offset);
    if (at + 1 >= segments_.count()) continue;
    Segment& left = segments_.at(at);
    if (left.base_offset() == source.base_offset && left.next_offset() <= recovery_point_) left.seal(true);
  }
}

Result<std::shared_ptr<File>> Log::swap_in(const CompactedSegment& segment) {
  const auto first = position_of(segment);
  if (!first) return fail(ErrorCode::kKafkaStorageError, name_ + " has changed during its compaction");
  const std::string path = segment.sources.front().path;
  auto replaced = segments_.at(*first).file();
  if (!replaced) return replaced;
  if (auto renamed = files_.rename(segment.path, path); !renamed) return std::unexpected(renamed.error());
  ++swaps_;
  for (size_t i = 0; i < segment.sources.size(); ++i) {
    segments_.at(*first + i).forget_batches();
    if (i > 0) merged_away_.push_back(segment.sources[i].path);
  }
  auto replacement = std::make_unique<Segment>(
      files_, index_, SegmentKey{options_.id, segment.summary.base_offset}, path, options_.now_ms);
  replacement->adopt_compacted(segment.summary, segment.entries);
  segments_.replace(*first, segment.sources.size(), std::move(replacement));
  return replaced;
}

Result<> Log::finish_swap(const CompactedSegment& segment, int64_t now_ms) {
  const size_t at = segments_.floor(segment.summary.base_offset);
  if (at + 1 < segments_.count() && segments_.at(at).base_offset() == segment.summary.base_offset &&
      segments_.at(at).size() == segment.summary.size) {
    segments_.at(at).seal_stored();
  }
  return drop_merged_away(now_ms);
}

// For whoever takes segments away while a swap isn't finished: a replaced file must not come back for a
// segment that is gone, or be taken for a new one of the same name.
Result<> Log::settle_swap(int64_t now_ms) {
  if (merged_away_.empty()) return {};
  if (auto synced = files_.sync_directory(options_.directory); !synced) return synced;
  return drop_merged_away(now_ms);
}

Result<> Log::drop_merged_away(int64_t now_ms) {
  while (!merged_away_.empty()) {
    if (auto deleted = mark_deleted(merged_away_.back(), now_ms); !deleted) return deleted;
    merged_away_.pop_back();
  }
  return {};
}

// Opening.

void Log::load_cleaner_checkpoint(RecoveryReport& report) {
  may_have_holes_ = options_.config.compact || cleaner_checkpoint_->was_used();
  if (cleaner_checkpoint_->load_problem().empty()) return;
  report.notes.push_back(cleaner_checkpoint_->load_problem() + ": all of the log counts as uncompacted");
}

bool Log::is_merged_away(const FoundSegment& found) const {
  if (segments_.empty()) return false;
  const Segment& before = segments_.active();
  return is_merge_leftover(cleaner_checkpoint_->merging(), {before.base_offset(), before.next_offset()},
                           found.base_offset);
}

Result<> Log::drop_leftover(const FoundSegment& found, RecoveryReport& report) {
  const std::string path = options_.directory + "/" + Segment::file_name(found.base_offset);
  report.notes.push_back(
      fmt::format("{} was merged into {} by a compaction: removed", path, segments_.active().path()));
  (void)index_.remove_segment({options_.id, found.base_offset});
  return mark_deleted(path, options_.now_ms);
}

Result<bool> persist_swap_intent(OffsetIndex& index, CleanerCheckpoint& checkpoint,
                                 const CompactionPlan& plan, const CompactedSegment& segment) {
  if (auto flushed = index.flush(); !flushed) return std::unexpected(flushed.error());
  if (segment.sources.size() > 1)
    return checkpoint.announce_merge({segment.summary.base_offset, segment.summary.next_offset},
                                     plan.version);
  // Once there is a checkpoint, nobody takes what is missing between the batches for damage.
  if (checkpoint.first_dirty_offset()) return true;
  return checkpoint.advance(plan.first_dirty_offset, plan.version);
}

Result<> persist_swap(FileSystem& files, OffsetIndex& index, const SegmentKey& key,
                      const std::string& directory, const CompactedSegment& segment) {
  if (auto synced = files.sync_directory(directory); !synced) return synced;
  for (size_t i = 0; i < segment.entries.size(); i += Segment::kBlockEntries) {
    const size_t count = std::min(Segment::kBlockEntries, segment.entries.size() - i);
    // Entries that the index doesn't take make lookups longer, nothing else.
    (void)index.add_block(key, std::span(segment.entries).subspan(i, count));
  }
  return {};
}

}  // namespace millrace::storage
