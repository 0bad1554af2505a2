// The part of Log that takes records away: truncation, deletion up to an offset, retention.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "storage/log.h"

namespace millrace::storage {

Result<> Log::truncate_to(int64_t offset, int64_t now_ms) {
  if (auto online = check_online(); !online) return online;
  if (offset >= log_end_offset_) return {};
  if (offset < log_start_offset_) return truncate_fully_and_start_at(offset, now_ms);
  if (auto settled = settle_swap(now_ms); !settled) return settled;
  if (auto lowered = cleaner_checkpoint_->lower(offset); !lowered) return lowered;
  if (auto left = leave_journal_behind(offset); !left) return left;
  auto truncated = truncate_above(offset, now_ms);
  // Half of it done: what is in memory isn't what a start would find.
  if (!truncated) go_offline(truncated.error().message);
  return truncated;
}

Result<> Log::truncate_above(int64_t offset, int64_t now_ms) {
  while (segments_.count() > 1 && segments_.active().base_offset() >= offset) {
    if (auto dropped = drop_file(segments_.take_active(), now_ms); !dropped) return dropped;
  }
  // Each step is durable before the next, or a crash could leave a hole, or old batches behind new epochs.
  if (auto synced = files_.sync_directory(options_.directory); !synced) return synced;
  if (auto cut = cut_active(offset); !cut) return cut;
  // Below `offset` if that was within a batch or a hole: as the next start would find it.
  const int64_t end_offset = segments_.active().next_offset();
  // Only a batch that began below the start was left: the log goes on, empty, at its start.
  if (end_offset < log_start_offset_) return begin_anew_at(log_start_offset_, now_ms);
  log_end_offset_ = recovery_point_ = staged_end_ = end_offset;
  damages_.forget_from(end_offset);
  if (auto stored = store_checkpoint(); !stored) return stored;
  if (auto truncated = epochs_.truncate_from_end(log_end_offset_); !truncated) return truncated;
  int64_t replayed = 0;
  return load_producers(now_ms, replayed);
}

// Before a truncation to `end_offset`, which is so far from being one step: what the journal has of before it
// must not come back, nor be missed at a start that finds the truncation half done. So all that the log has
// is synced, and doesn't need the journal any more. Nothing has changed after an error.
Result<> Log::leave_journal_behind(int64_t end_offset) {
  if (auto flushed = flush(); !flushed) return flushed;
  // Nor may the index have a word for what is about to be cut: a file that has its old size again, or still,
  // would be believed to have its old content.
  for (const auto& segment : segments_) {
    if (segment->next_offset() > end_offset) segment->unseal();
  }
  if (auto removed = index_.remove_producers(options_.id); !removed) return removed;
  snapshots_.clear();
  if (auto flushed = index_.flush(); !flushed) return flushed;
  ++truncations_;
  if (journal_ != nullptr) journal_->forget(options_.id);
  if (options_.journal != nullptr) journal_floor_ = options_.journal->next_position();
  staged_end_ = log_end_offset_;
  // The cut may go below `end_offset`, to where its batch begins; until it is done, nothing of that segment
  // counts as synced.
  if (!segments_.empty()) {
    const Segment& left = segments_.at(segments_.floor(std::max<int64_t>(end_offset, 1) - 1));
    recovery_point_ = std::min(recovery_point_, left.base_offset());
  }
  return store_checkpoint();
}

// Cuts the active segment before the batch that holds `offset` or lies beyond it.
Result<> Log::cut_active(int64_t offset) {
  Segment& active = segments_.active();
  auto file = active.file();
  if (!file) return std::unexpected(file.error());
  std::vector<protocol::BatchHeader> kept;
  BatchCursor cursor(**file, 0, active.size());
  while (true) {
    const auto batch = cursor.next();
    if (!batch) return std::unexpected(batch.error());
    if (!*batch) break;
    if ((*batch)->header.last_offset() >= offset) {
      if (auto cut = (*file)->truncate((*batch)->position); !cut) return cut;
      break;
    }
    kept.push_back((*batch)->header);
  }
  if (auto synced = (*file)->sync_data(); !synced) return synced;
  active.forget_batches();
  for (const auto& header : kept) active.note_batch(header, options_.config.index_interval_bytes);
  return {};
}

Result<> Log::truncate_fully_and_start_at(int64_t offset, int64_t now_ms) {
  if (auto online = check_online(); !online) return online;
  if (auto settled = settle_swap(now_ms); !settled) return settled;
  if (auto lowered = cleaner_checkpoint_->lower(0); !lowered) return lowered;
  if (auto left = leave_journal_behind(0); !left) return left;
  auto begun = begin_anew_at(offset, now_ms);
  if (!begun) go_offline(begun.error().message);
  return begun;
}

Result<> Log::begin_anew_at(int64_t offset, int64_t now_ms) {
  // A crash from here on leaves nothing, or the latest segments; a start must not take the former for a loss.
  log_start_offset_ = std::max(log_start_offset_, offset);
  recovery_point_ = 0;
  if (auto stored = store_checkpoint(); !stored) return stored;
  while (!segments_.empty()) {
    if (auto dropped = drop_file(segments_.take_oldest(), now_ms); !dropped) return dropped;
  }
  // The old names must be gone for good before the new start counts: old segments would stand beside the new
  // one.
  if (auto synced = files_.sync_directory(options_.directory); !synced) return synced;
  log_start_offset_ = log_end_offset_ = recovery_point_ = staged_end_ = offset;
  damages_ = {};
  if (auto added = add_segment(offset, now_ms); !added) return added;
  if (auto stored = store_checkpoint(); !stored) return stored;
  producers_.reset(offset);
  return epochs_.clear();
}

Result<int64_t> Log::delete_records(int64_t before_offset) {
  const auto begun = begin_delete_records(before_offset);
  if (!begun) return std::unexpected(begun.error());
  return finish_delete_records(*begun, begun->store());
}

Result<RecordDeletion> Log::begin_delete_records(int64_t before_offset) {
  if (auto online = check_online(); !online) return std::unexpected(online.error());
  if (before_offset > log_end_offset_) {
    return fail(ErrorCode::kOffsetOutOfRange,
                fmt::format("{} ends at offset {}; records before {} can't be deleted", name_,
                            log_end_offset_, before_offset));
  }
  RecordDeletion deletion{.file = nullptr, .checkpoint = {}, .version = 0, .former_start = log_start_offset_};
  if (before_offset <= log_start_offset_) return deletion;
  log_start_offset_ = before_offset;
  deletion.file = checkpoint_file_;
  deletion.checkpoint = {log_start_offset_, recovery_point_, journal_floor_};
  deletion.version = checkpoint_file_->next_version();
  return deletion;
}

Result<int64_t> Log::finish_delete_records(const RecordDeletion& deletion, const Result<>& stored) {
  if (!deletion.file) return log_start_offset_;
  if (!stored) {
    // Unless it has moved on meanwhile; nor before what retention has left, which went by the new start.
    if (log_start_offset_ == deletion.checkpoint.log_start_offset)
      log_start_offset_ = std::max(deletion.former_start, segments_.oldest().base_offset());
    return std::unexpected(stored.error());
  }
  checkpointed_recovery_point_ = std::max(checkpointed_recovery_point_, deletion.checkpoint.recovery_point);
  checkpointed_start_ = std::max(checkpointed_start_, deletion.checkpoint.log_start_offset);
  move_start(deletion.checkpoint.log_start_offset);
  return log_start_offset_;
}

// What follows from a log start offset that moved up.
void Log::move_start(int64_t offset) {
  log_start_offset_ = std::max(log_start_offset_, offset);
  damages_.forget_below(log_start_offset_);
  epochs_.truncate_from_start(log_start_offset_);
  // A kill may take what is held back, and a start doesn't believe a snapshot that is ahead of the file.
  if (!segments_.empty() && !segments_.active().file()) return;
  // Producers whose batches are all gone now are in no segment any more.
  store_producers(producers_.end_offset(), producers_.snapshot());
}

Result<> Log::store_checkpoint() {
  const auto stored = checkpoint_file_->store({log_start_offset_, recovery_point_, journal_floor_},
                                              checkpoint_file_->next_version());
  if (!stored) return stored;
  checkpointed_recovery_point_ = recovery_point_;
  checkpointed_start_ = log_start_offset_;
  return {};
}

Result<> Log::drop_file(std::unique_ptr<Segment> segment, int64_t now_ms) {
  segment->forget_batches();
  segment->release_file();
  return mark_deleted(segment->path(), now_ms);
}

Result<> Log::mark_deleted(const std::string& path, int64_t now_ms) {
  const std::string deleted = path + std::string(Segment::kDeletedSuffix);
  if (auto renamed = files_.rename(path, deleted); !renamed) return renamed;
  int64_t due_ms = 0;
  if (__builtin_add_overflow(now_ms, options_.config.file_delete_delay_ms, &due_ms))
    due_ms = std::numeric_limits<int64_t>::max();
  deleted_files_.push_back({deleted, due_ms, ++names_version_});
  return {};
}

bool Log::has_due_files(int64_t now_ms) const {
  return std::ranges::any_of(deleted_files_,
                             [now_ms](const DeletedFile& file) { return file.due_ms <= now_ms; });
}

DueFiles Log::take_due_files(int64_t now_ms) {
  std::vector<std::string> due;
  // The delay may have been shortened since: a later one may be due before those in front of it.
  std::erase_if(deleted_files_, [&](DeletedFile& file) {
    if (file.due_ms > now_ms || file.names_version > names_synced_) return false;
    due.push_back(std::move(file.path));
    return true;
  });
  return due_files(std::move(due));
}

DueFiles Log::due_files(std::vector<std::string> paths) {
  DueFiles due{.paths = std::move(paths), .file = nullptr, .checkpoint = {}, .version = 0};
  if (due.paths.empty() || segments_.oldest().base_offset() <= checkpointed_start_) return due;
  due.file = checkpoint_file_;
  due.checkpoint = {log_start_offset_, recovery_point_, journal_floor_};
  due.version = checkpoint_file_->next_version();
  return due;
}

Result<> DueFiles::remove(FileSystem& file_system) const {
  Result<> stored = file ? file->store(checkpoint, version) : Result<>();
  if (!stored && is_full_disk(stored.error())) {
    // Their names are what a start needs.
    for (const std::string& path : paths) {
      const auto emptied = file_system.open(path, OpenMode::kReadWrite);
      if (emptied) (void)(*emptied)->truncate(0);
    }
    stored = file->store(checkpoint, version);
  }
  if (!stored) return stored;
  for (const std::string& path : paths) {
    if (auto removed = file_system.remove(path); !removed) return removed;
  }
  return {};
}

Result<RetentionReport> Log::find_expired(int64_t now_ms, int64_t high_watermark) const {
  std::vector<SegmentFacts> facts;
  for (size_t i = 0; i < segments_.count(); ++i) {
    const Segment& segment = segments_.at(i);
    const bool last = i + 1 == segments_.count();
    int64_t last_written_ms = segment.last_append_ms();
    if (last_written_ms == 0 && (segment.max_timestamp_ms() < 0 || segment.max_timestamp_ms() > now_ms)) {
      const auto status = files_.status(segment.path());
      if (!status) return std::unexpected(status.error());
      last_written_ms = status->modified_ms;
    }
    facts.push_back({segment.base_offset(), last ? log_end_offset_ : segments_.at(i + 1).base_offset(),
                     segment.size(),
                     retention_timestamp_ms(segment.max_timestamp_ms(), last_written_ms, now_ms)});
  }
  return choose_expired(facts, options_.config, log_start_offset_, high_watermark, now_ms);
}

// A power loss could then leave no segment at all, and nobody would know where the log had ended.
bool Log::needs_synced_names(const RetentionReport& expired) const {
  return expired.count() > 0 && expired.count() + 1 >= segments_.count() && names_synced_ < names_version_;
}

Result<bool> Log::roll_for_retention(int64_t now_ms, int64_t high_watermark) {
  if (auto online = check_online(); !online) return std::unexpected(online.error());
  const auto expired = find_expired(now_ms, high_watermark);
  if (!expired) return std::unexpected(expired.error());
  if (expired->count() == segments_.count()) {
    if (auto rolled = roll(now_ms); !rolled) return std::unexpected(rolled.error());
  }
  return needs_synced_names(*expired);
}

Result<RetentionReport> Log::delete_expired(int64_t now_ms, int64_t high_watermark) {
  if (auto online = check_online(); !online) return std::unexpected(online.error());
  const auto report = find_expired(now_ms, high_watermark);
  if (!report) return report;
  // What came since the first step may have expired, too.
  if (report->count() == segments_.count() || needs_synced_names(*report)) return RetentionReport{};
  if (report->count() > 0) {
    if (auto settled = settle_swap(now_ms); !settled) return std::unexpected(settled.error());
  }
  for (size_t i = 0; i < report->count(); ++i) {
    if (auto renamed = mark_deleted(segments_.oldest().path(), now_ms); !renamed) {
      // The new name may need a block of the directory that a full disk has no room for: the rest waits for
      // the next check.
      if (!is_full_disk(renamed.error())) {
        go_offline(renamed.error().message);
      } else if (i > 0) {
        move_start(segments_.oldest().base_offset());
      }
      return std::unexpected(renamed.error());
    }
    const auto segment = segments_.take_oldest();
    segment->forget_batches();
    segment->release_file();
  }
  if (segments_.oldest().base_offset() > log_start_offset_) {
    move_start(segments_.oldest().base_offset());
  }
  return report;
}

}  // namespace millrace::storage
