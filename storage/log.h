// A partition's log: segment files of record batches, byte for byte as on the wire, and what is derived from
// them (index, producer state, leader epochs).
//
// One thread at a time uses a Log (the partition's shard). Time is an argument. The high watermark is kept by
// the replication above; the log only learns it where it must not go beyond it.
//
// Where the log has a journal, what is appended is staged there, too: written with the shard's next group it
// is durable, and the segments are written and synced later, by a checkpoint at the latest.
//
// A failed write leaves nothing half-visible: what it has left in the segment's file is cut off. If that
// fails, the log goes offline and every further change is answered with kKafkaStorageError until it is opened
// again.
#pragma once

#include <atomic>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/result.h"
#include "protocol/topic_partition.h"
#include "storage/cleaner_checkpoint.h"
#include "storage/compaction.h"
#include "storage/damage.h"
#include "storage/file_system.h"
#include "storage/journal.h"
#include "storage/journal_directory.h"
#include "storage/leader_epochs.h"
#include "storage/log_config.h"
#include "storage/log_loss.h"
#include "storage/log_validator.h"
#include "storage/missing_data.h"
#include "storage/offset_index.h"
#include "storage/producer_state.h"
#include "storage/recovery.h"
#include "storage/retention.h"
#include "storage/segment_list.h"

namespace millrace::storage {

struct LogOptions {
  std::string directory;  // of the partition; exists
  TopicIdPartition id;
  std::string topic;
  LogConfig config;
  int64_t now_ms = 0;
  // Whether the data directory was closed cleanly (LogDirectory::clean_shutdown): the index is then believed.
  bool clean_shutdown = false;
  // Whether the caller syncs the directory before anything is appended (LogDirectory::sync_new).
  bool is_new = false;
  // Whether the caller syncs what the log has beyond its recovery point before anything of it is shown or
  // appended (dirty_files, mark_synced), for many logs at once.
  bool syncs_later = false;
  int64_t producer_expiration_ms = 86'400'000;  // producer.id.expiration.ms
  Journal* journal = nullptr;                   // of the log's shard; null: segments are synced at once
  std::span<const JournaledBatch> journaled;    // what a killed broker's journal has for this log
};

struct AppendInfo {
  int64_t base_offset = -1;
  int64_t last_offset = -1;
  // -1 for CreateTime. Of a duplicate: the first one's max timestamp, whatever the type (as Kafka answers).
  int64_t log_append_time_ms = -1;
  int64_t log_start_offset = 0;
  bool duplicate = false;  // was in the log already: the offsets are those of the first time
};

struct TimestampOffset {
  int64_t timestamp_ms = -1;
  int64_t offset = -1;
  int32_t leader_epoch = -1;
  auto operator<=>(const TimestampOffset&) const = default;
};

// What stands between the recovery point and the log's end: sync it on any thread, then call
// Log::mark_synced.
struct DirtyFiles {
  std::vector<std::shared_ptr<File>> files;
  std::string directory;  // whose names need a sync; empty: none do
  uint64_t names_version = 0;
  int64_t end_offset = 0;
  uint64_t truncations = 0;  // of the log so far
  std::shared_ptr<const std::atomic<bool>> log_gone;

  bool empty() const { return files.empty() && directory.empty(); }
  // Errors: kKafkaStorageError, after which nobody knows what is on disk. None for a directory that can't be
  // synced because its log is gone.
  Result<> sync(FileSystem& file_system) const;
};

// How the records up to end_offset become durable: with the journal's next group, or by a sync.
struct LogCommit {
  bool journaled = false;
  DirtyFiles dirty;  // empty when journaled
  int64_t end_offset = 0;
  uint64_t truncations = 0;  // of the log so far
};

// A checkpoint of a log under way: what is to be synced, and what the index is told then.
struct LogCheckpointing {
  DirtyFiles dirty;
  SegmentSummary segment;    // of the active segment
  Buffer producers;          // snapshot of the producer state; empty: not worth one
  uint64_t truncations = 0;  // of the log so far
  // The log's own checkpoint, where a segment was finished since the last one.
  std::shared_ptr<LogCheckpointFile> file;
  LogCheckpoint checkpoint;
  uint64_t version = 0;

  // After the sync, on any thread. What can't be stored now is with the next checkpoint.
  void store() {
    if (file && !file->store(checkpoint, version)) file = nullptr;
  }
};

// A log start that is moving up.
struct RecordDeletion {
  std::shared_ptr<LogCheckpointFile> file;  // null: nothing to do
  LogCheckpoint checkpoint;
  uint64_t version = 0;
  int64_t former_start = 0;

  Result<> store() const { return file ? file->store(checkpoint, version) : Result<>(); }
};

// Files of deleted segments whose time has come.
struct DueFiles {
  std::vector<std::string> paths;
  // The log's start above them, which must be durable first: a start would take them for lost. Null: it is.
  std::shared_ptr<LogCheckpointFile> file;
  LogCheckpoint checkpoint;
  uint64_t version = 0;

  bool empty() const { return paths.empty(); }
  // On any thread. On a full disk their space is given back first. Errors: kKafkaStorageError, after which
  // the next start removes what is left.
  Result<> remove(FileSystem& file_system) const;
};

// The names in a log's directory as of a moment: to be synced on any thread.
struct DirtyNames {
  std::string directory;  // empty: nothing to do
  uint64_t version = 0;
};

// What compaction could do for a log now.
struct CleanableRange {
  int64_t first_dirty_offset = 0;
  int64_t end_offset = 0;   // where the first segment begins that must stay as it is
  int64_t clean_bytes = 0;  // before the dirty part
  int64_t dirty_bytes = 0;
  // By how much the oldest dirty record exceeds max.compaction.lag.ms.
  int64_t overdue_ms = 0;

  double dirty_ratio() const {
    return static_cast<double>(dirty_bytes) / static_cast<double>(clean_bytes + dirty_bytes);
  }
};

class Log {
 public:
  // A log with this much between two commits has its segment synced, so that its bytes aren't written twice.
  // Measured on ext4: from about here on a sync of the segment costs no more CPU than a write to the journal
  // and the log's share of a checkpoint.
  static constexpr int64_t kDirectSyncBytes = int64_t{512} << 10;

  // Opens the log in options.directory, or makes a new one in an empty directory (which must exist). Segments
  // that the index covers aren't read; the others are scanned, and a torn tail of the last is cut. Damage in
  // the middle of data that had been synced isn't: it is left out of what is read (see read()), because a
  // person may still restore the file. `report` (may be null) says what was scanned, cut and rebuilt. Errors:
  // kKafkaStorageError.
  static Result<std::unique_ptr<Log>> open(FileSystem& files, OffsetIndex& index, LogOptions options,
                                           RecoveryReport* report);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // Appends the one batch in `records`, as Kafka's leader does: validated, checked against the producer's
  // sequence, given offsets and `leader_epoch` in place. Readable on return, not synced; what is staged for
  // the journal needn't even be in the page cache (write_behind.h). Errors:
  // those of validate_for_append and ProducerState::check, kKafkaStorageError.
  std::expected<AppendInfo, AppendError> append_as_leader(MutableBytes records, int32_t leader_epoch,
                                                          int64_t now_ms,
                                                          AppendOrigin origin = AppendOrigin::kClient);
  // Appends batches that have offsets already, from a leader; an incomplete one at the end is ignored.
  // Errors: kCorruptMessage (nothing was appended), kOffsetOutOfRange when they don't follow the log's end,
  // kKafkaStorageError. base_offset is -1 when there was no whole batch.
  Result<AppendInfo> append_as_follower(Bytes records, int64_t now_ms);

  // A part of one segment, from the batch that holds `offset` (which may begin before it) to the last batch
  // that ends before `end_offset` (the high watermark or the log's end; exclusive), at most `max_bytes` of
  // it, so that the last batch may be incomplete. With `at_least_one_batch` the first batch is whole even
  // above max_bytes; without, a first batch that doesn't fit gives an empty slice. `offset` equal to the
  // log's end, or at or beyond end_offset, gives an empty slice. Errors: kOffsetOutOfRange outside [log
  // start, log end], kKafkaStorageError, kCorruptMessage where damage is known at `offset`. A slice ends
  // before known damage. An empty slice has no file.
  //
  // This and the next two wait for the disk where they must. With `missing` they never do, but fail with
  // kOperationNotAttempted and tell it what they lack (missing_data.h).
  Result<FileSlice> read(int64_t offset, int64_t end_offset, size_t max_bytes, bool at_least_one_batch,
                         MissingData* missing = nullptr) const;

  // The first record with a timestamp of at least `timestamp_ms`, at or above the log's start; nullopt if
  // there is none. Errors: kKafkaStorageError, kCorruptMessage.
  Result<std::optional<TimestampOffset>> offset_for_timestamp(int64_t timestamp_ms,
                                                              MissingData* missing = nullptr) const;
  // The record with the largest timestamp, the first of equals (ListOffsets -3); nullopt in a log without
  // any.
  Result<std::optional<TimestampOffset>> max_timestamp(MissingData* missing = nullptr) const;

  int64_t log_start_offset() const { return log_start_offset_; }
  int64_t log_end_offset() const { return log_end_offset_; }
  // The records below are in files, and not just held back (write_behind.h).
  int64_t written_end_offset() const {
    return segments_.empty() ? log_end_offset_ : segments_.active().written_end_offset();
  }
  // All records below are synced.
  int64_t recovery_point() const { return recovery_point_; }
  int64_t size_bytes() const { return segments_.size_bytes(); }
  size_t segment_count() const { return segments_.count(); }
  // Where the oldest open transaction begins; nullopt without one.
  std::optional<int64_t> first_unstable_offset() const { return std::nullopt; }
  bool is_offline() const { return !offline_because_.empty(); }
  const std::string& offline_because() const { return offline_because_; }
  const TopicIdPartition& id() const { return options_.id; }
  const std::string& topic() const { return options_.topic; }
  // "topic-0"
  const std::string& name() const { return name_; }
  const std::string& directory() const { return options_.directory; }
  const LogConfig& config() const { return options_.config; }
  void set_config(const LogConfig& config) {
    options_.config = config;
    may_have_holes_ |= config.compact;
  }
  LeaderEpochs& leader_epochs() { return epochs_; }
  const LeaderEpochs& leader_epochs() const { return epochs_; }
  ProducerState& producers() { return producers_; }
  const ProducerState& producers() const { return producers_; }

  // Drops the batches that reach `offset` or lie beyond it, and what was derived from them. Nothing happens
  // when offset is at or above the end.
  Result<> truncate_to(int64_t offset, int64_t now_ms);
  // Drops everything; the log goes on, empty, at `offset`.
  Result<> truncate_fully_and_start_at(int64_t offset, int64_t now_ms);
  // Moves the log start offset up to `before_offset` (never down), durably; returns it. Segments wholly below
  // go with the next retention run. Errors: kOffsetOutOfRange beyond the log's end (the caller has checked
  // the high watermark), kKafkaStorageError.
  Result<int64_t> delete_records(int64_t before_offset);
  // The same in three steps: begin, RecordDeletion::store on any thread, finish with what came of it. Readers
  // see the new start from the first on.
  Result<RecordDeletion> begin_delete_records(int64_t before_offset);
  Result<int64_t> finish_delete_records(const RecordDeletion& deletion, const Result<>& stored);

  // What is known to be damaged.
  const DamageList& damages() const { return damages_; }
  // What a scrub looks at: all that is synced, of the active segment the part that the index covers.
  std::vector<SealedSegment> sealed_segments() const;
  // What a scrub found in `segment`: not served from now on, and looked at by each start once the index is
  // flushed. A damaged active segment is rolled, so that a start can go on behind it. False if it was known,
  // or if the segment isn't what it was when the scrub began (retention, truncation or compaction had it).
  bool note_damage(const SealedSegment& segment, DamagedRange range, int64_t now_ms);

  // Syncs everything up to the log's end, on this thread.
  Result<> flush();
  // The same in three steps: take, sync on another thread, then mark_synced; or mark_failed when that failed,
  // after which the log is offline (what the page cache still holds is then unknown).
  // Fails with kKafkaStorageError when a file can't be opened: then nothing of it may be acknowledged.
  Result<DirtyFiles> dirty_files() const;
  void mark_synced(const DirtyFiles& synced);
  void mark_failed(const Error& error);
  // What makes the records durable that are there now. Who takes it has it done before the next one. Errors:
  // as dirty_files.
  Result<LogCommit> take_commit();
  // The commit is on disk. Returns the offset below which the log's records are durable by it: 0 when the log
  // was truncated meanwhile, since what was appended after that isn't part of it.
  int64_t finish_commit(const LogCommit& commit);
  // A checkpoint in the same three steps: begin, sync `dirty` and store() on another thread, finish. After
  // the index's next flush a start reads only what was appended since the begin. Errors: as dirty_files.
  Result<LogCheckpointing> begin_checkpoint();
  // Whether the index doesn't cover all that the log has, so that a start after a kill would read some of it.
  bool lacks_checkpoint() const;
  void finish_checkpoint(const LogCheckpointing& checkpoint);

  // Retention, in two steps. The first starts a new segment where all there are may go, since a log has an
  // active segment at all times; returns whether names must be synced (dirty_names) before the second.
  Result<bool> roll_for_retention(int64_t now_ms, int64_t high_watermark);
  // The second deletes segments by retention.ms (delete policy only), retention.bytes and log start offset,
  // from the oldest on, never one that reaches `high_watermark`. Their files only get another name. A segment
  // whose largest timestamp lies in the future ages by its file's modification time. Deletes nothing if only
  // an active segment would be left whose name isn't durable.
  Result<RetentionReport> delete_expired(int64_t now_ms, int64_t high_watermark);
  DirtyNames dirty_names() const;
  void mark_names_synced(const DirtyNames& synced);
  // Whether there are files deleted file.delete.delay.ms ago.
  bool has_due_files(int64_t now_ms) const;
  // Those of them whose deletion is durable (dirty_names), for the caller to remove, which may take long.
  DueFiles take_due_files(int64_t now_ms);
  // Closes files, and gives back memory, that nobody has used since the last call. To be called now and then.
  void rest_unused() { segments_.rest_unused(recovery_point_); }
  // The same for all that is synced, used or not: of many logs that were recovered few are used soon.
  void close_synced() { segments_.close_synced(recovery_point_); }
  // Starts a new segment when the active one has records and is older than segment.ms.
  Result<> roll_if_due(int64_t now_ms);
  Result<> roll(int64_t now_ms);

  // Compaction (log_compaction.cc), with what the log itself must do, and in which order. One at a time:
  //   plan_compaction, then with a Compaction on another thread until a segment is ready:
  //     prepare_swap on the log's thread, persist_swap_intent on any,
  //     swap_in on the log's thread, persist_swap on any,
  //     finish_swap on the log's thread;
  //   at the end CleanerCheckpoint::advance on any, or abandon_compaction if it didn't come to that.
  //
  // Nothing to do (not compacted, offline, nothing dirty that may be compacted): nullopt. Errors:
  // kKafkaStorageError.
  Result<std::optional<CleanableRange>> cleanable(int64_t now_ms, int64_t high_watermark) const;
  // Needs everything before the range's end to be synced (dirty_files, mark_synced): a segment that is synced
  // while it is being replaced would be covered by the index again.
  CompactionPlan plan_compaction(const CleanableRange& range, int64_t now_ms) const;
  // Whether the log has been truncated since, or lost segments to retention: the compaction is given up then,
  // and an error of it means nothing.
  bool has_changed_since(const CompactionPlan& plan) const;
  // Whether what the new segment replaces is still there as it was.
  bool may_swap(const CompactionPlan& plan, const CompactedSegment& segment) const;
  // Lets the index no longer cover what is about to be replaced. Needs may_swap. Errors (kKafkaStorageError):
  // the files that the swap before has replaced can't be taken away, so that no other may be announced.
  Result<> prepare_swap(const CompactedSegment& segment, int64_t now_ms);
  // Puts the new segment in the place of the old ones, for readers from now on. Whoever has a slice of an old
  // one goes on reading it. Returns the file whose name was taken: its space is given back when it is closed,
  // which may take long. Needs may_swap. On an error nothing has changed.
  Result<std::shared_ptr<File>> swap_in(const CompactedSegment& segment);
  // Takes the replaced files away, once the new one's name is durable, and covers it by the index.
  Result<> finish_swap(const CompactedSegment& segment, int64_t now_ms);
  // Lets the index cover again what wasn't replaced after all.
  void abandon_compaction(const CompactedSegment& segment);
  // Shared with the compaction that moves it up; closed when the log ends.
  const std::shared_ptr<CleanerCheckpoint>& cleaner_checkpoint() const { return cleaner_checkpoint_; }
  // Below it the log is compacted.
  int64_t first_dirty_offset() const;

  // Syncs, and writes the index and a producer snapshot: the next open after a clean shutdown reads no
  // segment. The log can't be used afterwards.
  Result<> close(int64_t now_ms);

 private:
  struct DeletedFile {
    std::string path;
    int64_t due_ms;
    uint64_t names_version;
  };
  Log(FileSystem& files, OffsetIndex& index, LogOptions options);

  // Opening (log_recovery.cc).
  Result<> load(RecoveryReport& report);
  Result<> forget_stale_summaries(const std::vector<SegmentSummary>& summaries,
                                  const std::vector<FoundSegment>& found);
  Result<> renew_journal_floor();
  Result<> forget_deleted(const std::vector<DirectoryEntry>& entries, std::vector<SegmentSummary>& summaries);
  Result<> find_segments(LogTraces& traces, RecoveryReport& report);
  Result<> load_segments(const LogTraces& traces, RecoveryReport& report);
  Result<> finish_retention(int64_t start_offset, RecoveryReport& report);
  Result<> remove_deleted(const LogTraces& traces);
  Result<> load_segment(const FoundSegment& found, std::optional<int64_t> next_base,
                        const std::vector<SegmentSummary>& summaries, RecoveryReport& report, bool& cut);
  Result<> scan(Segment& segment, int64_t file_size, std::optional<int64_t> next_base, RecoveryReport& report,
                bool& cut);
  Result<ScanResult> scan_and_mend(Segment& segment, File& file, int64_t position, OffsetChain chain,
                                   const std::function<void(const protocol::BatchHeader&)>& visit,
                                   RecoveryReport& report);
  Result<> apply_journal(RecoveryReport& report);
  std::string path_of(const FoundSegment& found) const;
  bool is_stray(const FoundSegment& found) const;
  Result<ScanResult> scan_past_damage(Segment& segment, File& file, int64_t file_size,
                                      std::optional<int64_t> next_base, ScanResult scanned,
                                      RecoveryReport& report);
  Result<bool> is_torn_tail(const File& file, const ScanResult& scanned, int64_t file_size,
                            int64_t end_offset) const;
  Result<> keep_tail(const File& file, int64_t from, int64_t to) const;
  Result<> set_aside_beyond(int64_t base_offset, RecoveryReport& report);
  Result<> load_epochs(RecoveryReport& report);
  Result<> load_producers(int64_t now_ms, int64_t& batches);
  Result<> replace_producers();

  // What is missing (log_loss.cc).
  Result<> load_acceptance(RecoveryReport& report);
  Result<> end_acceptance();
  std::unexpected<Error> loss(const std::string& what) const;
  Result<> check_segments(const LogTraces& traces);
  Result<> check_end(const LogTraces& traces, int64_t end_offset) const;
  Result<> check_journal_joins(int64_t end_offset) const;
  Result<> bridge(int64_t end_offset, int64_t next_base, RecoveryReport& report);

  // Compaction (log_compaction.cc).
  bool is_merged_away(const FoundSegment& found) const;
  Result<> drop_leftover(const FoundSegment& found, RecoveryReport& report);
  Result<> drop_merged_away(int64_t now_ms);
  void load_cleaner_checkpoint(RecoveryReport& report);
  std::optional<size_t> position_of(const CompactedSegment& segment) const;
  Result<int64_t> newest_timestamp(const Segment& segment) const;
  Result<> settle_swap(int64_t now_ms);

  // Reading (log_reading.cc).
  Result<int64_t> search_floor(const Segment& segment, int64_t timestamp_ms, MissingData* missing) const;

  // Appending (log.cc).
  ValidationOptions validation_options(int32_t leader_epoch, int64_t now_ms, AppendOrigin origin) const;
  bool must_roll(const protocol::BatchHeader& next, int64_t now_ms) const;
  enum class Source {
    kProducer,  // or a leader: new, and staged for the journal
    kJournal    // restored at a start
  };
  Result<> write(const protocol::BatchHeader& header, Bytes batch, int64_t now_ms, Source source);
  Result<> append_and_stage(const protocol::BatchHeader& header, Bytes batch, int64_t now_ms);
  Result<> append(const protocol::BatchHeader& header, Bytes batch, int64_t now_ms);
  Result<> roll_at(int64_t base_offset, int64_t now_ms);
  Result<> add_segment(int64_t base_offset, int64_t now_ms);
  int64_t age_limit_ms() const;
  bool finished_segment() const;
  Result<> check_online() const;
  void go_offline(std::string why);
  bool may_stage(size_t bytes) const;
  bool stage(int64_t next_end_offset, Bytes batch);
  void store_producers(int64_t offset, Bytes snapshot);
  bool has_stored_producers() const;

  // Taking away (log_removal.cc).
  Result<> cut_active(int64_t offset);
  Result<RetentionReport> find_expired(int64_t now_ms, int64_t high_watermark) const;
  bool needs_synced_names(const RetentionReport& expired) const;
  Result<> drop_file(std::unique_ptr<Segment> segment, int64_t now_ms);
  Result<> mark_deleted(const std::string& path, int64_t now_ms);
  DueFiles due_files(std::vector<std::string> paths);
  void move_start(int64_t offset);
  Result<> truncate_above(int64_t offset, int64_t now_ms);
  Result<> begin_anew_at(int64_t offset, int64_t now_ms);
  Result<> leave_journal_behind(int64_t end_offset);
  Result<> store_checkpoint();

  FileSystem& files_;
  OffsetIndex& index_;
  LogOptions options_;
  std::string name_;
  SegmentList segments_;
  DamageList damages_;
  LeaderEpochs epochs_;
  ProducerState producers_;
  int64_t log_start_offset_ = 0;
  int64_t log_end_offset_ = 0;
  int64_t recovery_point_ = 0;
  int64_t checkpointed_recovery_point_ = 0;
  int64_t checkpointed_start_ = 0;  // 0 where nothing tells which segments must be there
  // Offsets of the producer snapshots in the index, in the order in which they were stored: two, since the
  // latest may be of records that a power loss takes back.
  std::vector<int64_t> snapshots_;
  uint64_t truncations_ = 0;
  uint64_t swaps_ = 0;  // of segments by compaction
  // Null while the log is being opened. All between the recovery point and staged_end_ is in the journal.
  Journal* journal_ = nullptr;
  JournalPosition journal_floor_;
  int64_t staged_end_ = 0;
  int64_t bytes_since_commit_ = 0;
  bool syncs_directly_ = false;  // the last commit had kDirectSyncBytes
  bool may_have_holes_ = false;  // between batches: it is, or was, compacted
  // Of the names in the directory: changes made, and how many of them are synced.
  uint64_t names_version_ = 0;
  uint64_t names_synced_ = 0;
  bool loss_accepted_ = false;            // while the log is being opened
  std::optional<int64_t> unsynced_from_;  // the same: what the caller syncs
  std::string offline_because_;
  std::vector<DeletedFile> deleted_files_;
  std::shared_ptr<CleanerCheckpoint> cleaner_checkpoint_;
  std::shared_ptr<LogCheckpointFile> checkpoint_file_;
  const std::shared_ptr<std::atomic<bool>> gone_ = std::make_shared<std::atomic<bool>>(false);
  // Files of segments that a swap replaced, and that still have their names.
  std::vector<std::string> merged_away_;
};

// Any thread. Makes durable that there is compaction here, which segments are about to be merged, and that
// the index doesn't cover them: after a crash a start can then tell what a half-done swap has left, and `log
// verify` what it has left out. False when the log has changed since the plan. Errors: kKafkaStorageError.
Result<bool> persist_swap_intent(OffsetIndex& index, CleanerCheckpoint& checkpoint,
                                 const CompactionPlan& plan, const CompactedSegment& segment);
// Any thread, after swap_in. Makes the new segment's name durable and its index entries known. On an error it
// is unknown which of both the directory has: the replaced files must stay.
Result<> persist_swap(FileSystem& files, OffsetIndex& index, const SegmentKey& key,
                      const std::string& directory, const CompactedSegment& segment);

}  // namespace millrace::storage
