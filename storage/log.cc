// Appending, rolling and syncing. Opening is in log_recovery.cc, reading in log_reading.cc, taking away in
// log_removal.cc.
#include "storage/log.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace millrace::storage {
namespace {

using protocol::BatchHeader;

// Whether `later - earlier > limit`, for any timestamps.
bool apart_by_more(int64_t later, int64_t earlier, int64_t limit) {
  int64_t difference = 0;
  if (__builtin_sub_overflow(later, earlier, &difference)) return later > earlier;
  return difference > limit;
}

std::optional<int> level_of(const LogConfig& config) {
  if (!config.compression) return std::nullopt;
  switch (*config.compression) {
    case protocol::Compression::kGzip:
      return config.gzip_level;
    case protocol::Compression::kLz4:
      return config.lz4_level;
    case protocol::Compression::kZstd:
      return config.zstd_level;
    default:
      return std::nullopt;
  }
}

}  // namespace

Log::Log(FileSystem& files, OffsetIndex& index, LogOptions options)
    : files_(files),
      index_(index),
      options_(std::move(options)),
      name_(fmt::format("{}-{}", options_.topic, options_.id.partition)),
      epochs_(files, options_.directory),
      producers_(name_, options_.producer_expiration_ms),
      cleaner_checkpoint_(std::make_shared<CleanerCheckpoint>(files, options_.directory)),
      checkpoint_file_(std::make_shared<LogCheckpointFile>(files, options_.directory)) {}

Log::~Log() {
  gone_->store(true);
  cleaner_checkpoint_->close();
  checkpoint_file_->close();
}

ValidationOptions Log::validation_options(int32_t leader_epoch, int64_t now_ms, AppendOrigin origin) const {
  const LogConfig& config = options_.config;
  ValidationOptions options;
  options.now_ms = now_ms;
  options.base_offset = log_end_offset_;
  options.leader_epoch = leader_epoch;
  options.origin = origin;
  options.partition_name = name_;
  options.timestamp_type = config.timestamp_type;
  options.timestamp_before_max_ms = config.timestamp_before_max_ms;
  options.timestamp_after_max_ms = config.timestamp_after_max_ms;
  options.compression = config.compression;
  options.compression_level = level_of(config);
  options.max_message_bytes = static_cast<size_t>(config.max_message_bytes);
  options.segment_bytes = static_cast<size_t>(config.segment_bytes);
  options.compacted = config.compact;
  return options;
}

std::expected<AppendInfo, AppendError> Log::append_as_leader(MutableBytes records, int32_t leader_epoch,
                                                             int64_t now_ms, AppendOrigin origin) {
  if (auto online = check_online(); !online) return std::unexpected(online.error());
  const auto batch = validate_for_append(records, validation_options(leader_epoch, now_ms, origin));
  if (!batch) return std::unexpected(batch.error());
  AppendInfo info;
  info.log_start_offset = log_start_offset_;
  if (batch->bytes.empty()) return info;
  if (origin == AppendOrigin::kClient) {
    if (const auto first = producers_.find_duplicate(batch->header)) {
      info.base_offset = first->first_offset;
      info.last_offset = first->last_offset;
      info.log_append_time_ms = first->max_timestamp_ms;
      info.duplicate = true;
      return info;
    }
    if (auto checked = producers_.check(batch->header); !checked) return std::unexpected(checked.error());
  }
  if (auto assigned = epochs_.assign(leader_epoch, batch->header.base_offset); !assigned) {
    return std::unexpected(assigned.error());
  }
  if (auto written = write(batch->header, batch->bytes, now_ms, Source::kProducer); !written)
    return std::unexpected(written.error());
  info.base_offset = batch->header.base_offset;
  info.last_offset = batch->header.last_offset();
  info.log_append_time_ms = batch->log_append_time_ms;
  return info;
}

Result<AppendInfo> Log::append_as_follower(Bytes records, int64_t now_ms) {
  if (auto online = check_online(); !online) return std::unexpected(online.error());
  // All is checked before anything is written.
  std::vector<std::pair<BatchHeader, Bytes>> batches;
  int64_t lowest_offset = log_end_offset_;
  Result<> sound;
  const auto walked = protocol::for_each_batch(records, [&](const BatchHeader& header, Bytes batch) {
    if (!protocol::crc_matches(batch)) {
      sound = fail(
          ErrorCode::kCorruptMessage,
          fmt::format("a batch for {} with base offset {} came with a wrong CRC", name_, header.base_offset));
    } else if (header.base_offset < lowest_offset || header.last_offset_delta < 0) {
      sound = fail(ErrorCode::kOffsetOutOfRange,
                   fmt::format("a batch for {} with base offset {} came where {} was due", name_,
                               header.base_offset, lowest_offset));
    }
    if (!sound) return false;
    lowest_offset = header.last_offset() + 1;
    batches.emplace_back(header, batch);
    return true;
  });
  if (!walked) return std::unexpected(walked.error());
  if (!sound) return std::unexpected(sound.error());
  AppendInfo info;
  info.log_start_offset = log_start_offset_;
  for (const auto& [header, batch] : batches) {
    if (auto assigned = epochs_.assign(header.partition_leader_epoch, header.base_offset); !assigned) {
      return std::unexpected(assigned.error());
    }
    if (auto written = write(header, batch, now_ms, Source::kProducer); !written)
      return std::unexpected(written.error());
    if (info.base_offset < 0) info.base_offset = header.base_offset;
    info.last_offset = header.last_offset();
  }
  return info;
}

Result<> Log::write(const BatchHeader& header, Bytes batch, int64_t now_ms, Source source) {
  if (must_roll(header, now_ms)) {
    // Without a hole between the segments, by which a start would know that one is missing.
    const bool is_too_far = header.last_offset() - log_end_offset_ > OffsetChain::kFurthest;
    if (auto rolled = roll_at(is_too_far ? header.base_offset : log_end_offset_, now_ms); !rolled)
      return rolled;
  }
  Segment& active = segments_.active();
  if (source == Source::kProducer) {
    if (auto appended = append_and_stage(header, batch, now_ms); !appended) return appended;
  } else if (active.has_room_to_hold_back(batch.size())) {
    active.hold_back(header, batch, now_ms, options_.config.index_interval_bytes, nullptr);
  } else if (auto appended = append(header, batch, now_ms); !appended) {
    return appended;
  }
  producers_.append(header, now_ms);
  log_end_offset_ = header.last_offset() + 1;
  return {};
}

Result<> Log::append_and_stage(const BatchHeader& header, Bytes batch, int64_t now_ms) {
  const int64_t next_end_offset = header.last_offset() + 1;
  const bool stages = may_stage(batch.size());
  Segment& active = segments_.active();
  const bool holds_back = stages && active.prepare_to_hold_back(batch.size(), journal_->write_behind(),
                                                                options_.config.segment_bytes);
  if (holds_back && stage(next_end_offset, batch)) {
    active.hold_back(header, batch, now_ms, options_.config.index_interval_bytes, &journal_->write_behind());
  } else {
    if (auto appended = append(header, batch, now_ms); !appended) return appended;
    // Only now: the journal must not have what the log hasn't.
    if (stages && !holds_back) (void)stage(next_end_offset, batch);
  }
  bytes_since_commit_ += static_cast<int64_t>(batch.size());
  return {};
}

Result<> Log::append(const BatchHeader& header, Bytes batch, int64_t now_ms) {
  Segment& active = segments_.active();
  auto appended = active.append(header, batch, now_ms, options_.config.index_interval_bytes);
  if (!appended && active.is_torn()) go_offline(appended.error().message);
  return appended;
}

// Not behind a gap in what is staged, nor of a topic that is synced only now and then: the next commit syncs
// the segment.
bool Log::may_stage(size_t bytes) const {
  if (journal_ == nullptr || !journal_->has_file() || staged_end_ != log_end_offset_) return false;
  return options_.config.flush_messages <= 1 && !syncs_directly_ &&
         bytes_since_commit_ + static_cast<int64_t>(bytes) < kDirectSyncBytes;
}

bool Log::stage(int64_t next_end_offset, Bytes batch) {
  const bool staged = journal_->stage(options_.id, log_end_offset_, batch);
  if (staged) staged_end_ = next_end_offset;
  return staged;
}

Result<LogCommit> Log::take_commit() {
  LogCommit commit{.journaled = journal_ != nullptr && staged_end_ == log_end_offset_,
                   .dirty = {},
                   .end_offset = log_end_offset_,
                   .truncations = truncations_};
  if (!commit.journaled) {
    auto dirty = dirty_files();
    if (!dirty) return std::unexpected(dirty.error());
    commit.dirty = std::move(*dirty);
    if (journal_ != nullptr) journal_->forget(options_.id);
  }
  syncs_directly_ = bytes_since_commit_ >= kDirectSyncBytes;
  bytes_since_commit_ = 0;
  staged_end_ = log_end_offset_;
  return commit;
}

int64_t Log::finish_commit(const LogCommit& commit) {
  if (commit.truncations != truncations_) return 0;
  if (!commit.journaled) mark_synced(commit.dirty);
  return commit.end_offset;
}

int64_t Log::age_limit_ms() const {
  const LogConfig& config = options_.config;
  if (config.segment_jitter_ms <= 0) return config.segment_ms;
  // By chance, but the same at each call for a segment.
  const size_t chance =
      (std::hash<TopicIdPartition>()(options_.id) + static_cast<size_t>(segments_.active().base_offset())) *
          0x9e3779b97f4a7c15u >>
      16;
  const int64_t jitter = static_cast<int64_t>(chance % static_cast<size_t>(config.segment_jitter_ms));
  return config.segment_ms - std::min(jitter, config.segment_ms);
}

bool Log::must_roll(const BatchHeader& next, int64_t now_ms) const {
  const Segment& active = segments_.active();
  if (next.last_offset() - active.base_offset() > OffsetChain::kFurthest) return true;
  if (active.size() == 0) return false;
  if (active.size() > options_.config.segment_bytes - static_cast<int64_t>(next.size_bytes())) return true;
  // Kafka's rule: the age of a segment is how far the records' own timestamps have advanced since its first
  // batch.
  if (active.first_timestamp_ms() >= 0) {
    return apart_by_more(next.max_timestamp_ms, active.first_timestamp_ms(), age_limit_ms());
  }
  return apart_by_more(now_ms, active.created_ms(), age_limit_ms());
}

Result<> Log::roll_if_due(int64_t now_ms) {
  if (auto online = check_online(); !online) return online;
  const Segment& active = segments_.active();
  if (active.size() == 0 || !apart_by_more(now_ms, active.created_ms(), age_limit_ms())) return {};
  return roll(now_ms);
}

Result<> Log::roll(int64_t now_ms) {
  if (auto online = check_online(); !online) return online;
  return roll_at(log_end_offset_, now_ms);
}

Result<> Log::roll_at(int64_t base_offset, int64_t now_ms) {
  Segment& active = segments_.active();
  if (active.size() == 0) {
    if (active.base_offset() == base_offset) return {};
    // Empty, and its base offset is too far from the batch to come: replaced.
    if (auto added = add_segment(base_offset, now_ms); !added) return added;
    auto new_active = segments_.take_active();
    auto empty = segments_.take_active();
    segments_.add(std::move(new_active));
    return drop_file(std::move(empty), now_ms);
  }
  // All of it, so that only the active one ever holds back something.
  if (const auto written = active.file(); !written) return std::unexpected(written.error());
  if (auto added = add_segment(base_offset, now_ms); !added) return added;
  active.trim(options_.config.preallocate);
  active.seal(active.next_offset() <= recovery_point_);
  if (active.next_offset() <= recovery_point_) active.release_file();
  return {};
}

Result<> Log::add_segment(int64_t base_offset, int64_t now_ms) {
  const std::string path = options_.directory + "/" + Segment::file_name(base_offset);
  auto segment =
      std::make_unique<Segment>(files_, index_, SegmentKey{options_.id, base_offset}, path, now_ms);
  const auto file = files_.open(path, OpenMode::kCreate);
  if (!file) return std::unexpected(file.error());
  if (auto emptied = (*file)->truncate(0); !emptied) return emptied;
  if (options_.config.preallocate) {
    if (auto reserved = segment->reserve(options_.config.segment_bytes); !reserved) return reserved;
  }
  ++names_version_;
  segments_.add(std::move(segment));
  return {};
}

Result<> DirtyFiles::sync(FileSystem& file_system) const {
  for (const auto& file : files) {
    if (auto synced = file->sync_data(); !synced) return synced;
  }
  if (directory.empty()) return {};
  auto synced = file_system.sync_directory(directory);
  // Deleted while it was waited for: the directory has another name by now, or none.
  if (!synced && log_gone && log_gone->load()) return {};
  return synced;
}

Result<DirtyFiles> Log::dirty_files() const {
  DirtyFiles dirty;
  dirty.end_offset = log_end_offset_;
  dirty.names_version = names_version_;
  dirty.truncations = truncations_;
  dirty.log_gone = gone_;
  if (names_version_ > names_synced_) dirty.directory = options_.directory;
  for (size_t i = segments_.floor(recovery_point_); i < segments_.count(); ++i) {
    const Segment& segment = segments_.at(i);
    if (segment.next_offset() <= recovery_point_ || segment.size() == 0) continue;
    auto file = segment.file();
    if (!file) return std::unexpected(file.error());
    dirty.files.push_back(std::move(*file));
  }
  return dirty;
}

Result<> Log::flush() {
  if (auto online = check_online(); !online) return online;
  const Result<DirtyFiles> dirty = dirty_files();
  if (!dirty) return std::unexpected(dirty.error());
  if (auto synced = dirty->sync(files_); !synced) {
    mark_failed(synced.error());
    return synced;
  }
  mark_synced(*dirty);
  if (finished_segment()) (void)store_checkpoint();
  return {};
}

// Once a whole segment is synced, damage in it can't be a torn tail: the next start must know.
bool Log::finished_segment() const {
  return !segments_.empty() && checkpointed_recovery_point_ < segments_.active().base_offset();
}

DirtyNames Log::dirty_names() const {
  if (names_version_ <= names_synced_) return {};
  return {options_.directory, names_version_};
}

void Log::mark_names_synced(const DirtyNames& synced) {
  names_synced_ = std::max(names_synced_, synced.version);
}

void Log::mark_synced(const DirtyFiles& synced) {
  // What was appended after a truncation isn't what was synced.
  if (synced.truncations != truncations_) return;
  names_synced_ = std::max(names_synced_, synced.names_version);
  const int64_t end_offset = std::min(synced.end_offset, log_end_offset_);
  if (end_offset <= recovery_point_) return;
  staged_end_ = std::max(staged_end_, end_offset);
  const size_t first = segments_.floor(recovery_point_);
  recovery_point_ = end_offset;
  for (size_t i = first; i + 1 < segments_.count(); ++i) {
    if (segments_.at(i).next_offset() <= recovery_point_) segments_.at(i).seal(true);
  }
  segments_.release_synced(recovery_point_);
}

Result<LogCheckpointing> Log::begin_checkpoint() {
  auto dirty = dirty_files();
  if (!dirty) return std::unexpected(dirty.error());
  LogCheckpointing checkpoint{.dirty = std::move(*dirty),
                              .segment = segments_.empty() ? SegmentSummary{} : segments_.active().summary(),
                              .producers = {},
                              .truncations = truncations_,
                              .file = nullptr,
                              .checkpoint = {log_start_offset_, log_end_offset_, journal_floor_},
                              .version = 0};
  if (finished_segment()) {
    checkpoint.file = checkpoint_file_;
    checkpoint.version = checkpoint_file_->next_version();
  }
  if (!has_stored_producers()) checkpoint.producers = producers_.snapshot();
  return checkpoint;
}

bool Log::lacks_checkpoint() const {
  if (segments_.empty() || segments_.active().size() == 0) return false;
  const auto covered = segments_.active().covered();
  return !covered || covered->size < segments_.active().size();
}

void Log::finish_checkpoint(const LogCheckpointing& checkpoint) {
  if (truncations_ != checkpoint.truncations) return;
  mark_synced(checkpoint.dirty);
  if (checkpoint.file) {
    checkpointed_recovery_point_ =
        std::max(checkpointed_recovery_point_, checkpoint.checkpoint.recovery_point);
    checkpointed_start_ = std::max(checkpointed_start_, checkpoint.checkpoint.log_start_offset);
  }
  for (size_t i = segments_.floor(checkpoint.segment.base_offset); i < segments_.count(); ++i) {
    Segment& segment = segments_.at(i);
    // What was sealed meanwhile has a better summary.
    if (segment.base_offset() != checkpoint.segment.base_offset) break;
    if (i + 1 == segments_.count() || segment.next_offset() > recovery_point_)
      segment.checkpoint(checkpoint.segment);
    break;
  }
  if (!checkpoint.producers.empty()) store_producers(checkpoint.dirty.end_offset, checkpoint.producers);
}

void Log::store_producers(int64_t offset, Bytes snapshot) {
  // It may be of damaged batches, and would still be believed when they are restored.
  if (!damages_.empty()) return;
  std::vector<int64_t> kept = snapshots_;
  std::erase(kept, offset);
  const size_t surplus = kept.empty() ? 0 : kept.size() - 1;
  if (!index_.add_producers(options_.id, offset, snapshot, std::span(kept).first(surplus))) return;
  kept.erase(kept.begin(), kept.begin() + static_cast<ptrdiff_t>(surplus));
  kept.push_back(offset);
  snapshots_ = std::move(kept);
}

bool Log::has_stored_producers() const {
  return !snapshots_.empty() && snapshots_.back() == producers_.end_offset();
}

void Log::mark_failed(const Error& error) { go_offline(error.message); }

Result<> Log::check_online() const {
  if (offline_because_.empty()) return {};
  return fail(ErrorCode::kKafkaStorageError, fmt::format("{} is offline since: {}", name_, offline_because_));
}

void Log::go_offline(std::string why) {
  if (offline_because_.empty()) offline_because_ = std::move(why);
}

Result<> Log::close(int64_t now_ms) {
  if (auto online = check_online(); !online) return online;
  if (auto flushed = flush(); !flushed) return flushed;
  if (auto removed = take_due_files(now_ms).remove(files_); !removed) return removed;
  segments_.active().trim(options_.config.preallocate || segments_.active().has_space_ahead());
  segments_.active().seal(true);
  // Without the index nothing else would tell that damage in what is closed here is no torn tail.
  if (checkpointed_recovery_point_ < log_end_offset_) (void)store_checkpoint();
  if (!has_stored_producers() && log_end_offset_ > 0)
    store_producers(producers_.end_offset(), producers_.snapshot());
  go_offline("it was closed");
  return {};
}

}  // namespace millrace::storage
