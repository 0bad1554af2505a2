// One segment of a log: a file "<base offset>.log" of whole batches, what is known about them, and the part
// of the index that isn't in the OffsetIndex yet.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/result.h"
#include "storage/batch_cursor.h"
#include "storage/file_system.h"
#include "storage/known_positions.h"
#include "storage/offset_index.h"
#include "storage/write_behind.h"

namespace millrace::storage {

// Counts a batch that stands at the end of a segment into its summary. Returns the index entry that is due
// for it, if one is; `bytes_since_entry` is kept for the caller and begins at kEntryDue, so that the first
// batch gets an entry.
inline constexpr int64_t kEntryDue = INT32_MAX;
std::optional<IndexEntry> count_batch(const protocol::BatchHeader& header, int32_t index_interval_bytes,
                                      SegmentSummary& summary, int64_t& bytes_since_entry);

class Segment {
 public:
  static constexpr std::string_view kSuffix = ".log";
  // Added to the name of a file that is to be removed after file.delete.delay.ms, or at the next start.
  static constexpr std::string_view kDeletedSuffix = ".deleted";
  // Index entries in memory at most; a full block goes to the OffsetIndex, so that neither a large active
  // segment nor many small ones take much memory.
  static constexpr size_t kBlockEntries = 256;

  // An empty segment; `path` is its file, which exists by the time of the first access.
  Segment(FileSystem& files, OffsetIndex& index, SegmentKey key, std::string path, int64_t now_ms);

  // "00000000000000000042.log"
  static std::string file_name(int64_t base_offset);
  static std::optional<int64_t> base_offset_of(std::string_view file_name);
  // The same of a file that is to be removed; nullopt for any other.
  static std::optional<int64_t> deleted_base_offset_of(std::string_view file_name);

  const SegmentSummary& summary() const { return summary_; }
  int64_t base_offset() const { return summary_.base_offset; }
  int64_t next_offset() const { return summary_.next_offset; }
  int64_t size() const { return summary_.size; }
  int64_t max_timestamp_ms() const { return summary_.max_timestamp_ms; }
  int64_t max_timestamp_offset() const { return summary_.max_timestamp_offset; }
  int64_t first_timestamp_ms() const { return summary_.first_timestamp_ms; }
  // When this object was made or, if later, got its first batch.
  int64_t created_ms() const { return created_ms_; }
  // 0 when nothing was appended since the log was opened.
  int64_t last_append_ms() const { return last_append_ms_; }
  const std::string& path() const { return path_; }

  // The file, opened at the first call after release_file, with all batches in it that begin below
  // `end_offset`. Errors: kKafkaStorageError, also for what was held back and can't be written now.
  Result<std::shared_ptr<File>> file(int64_t end_offset = kAllBatches) const;
  static constexpr int64_t kAllBatches = std::numeric_limits<int64_t>::max();
  // The batches below are in the file, in its first written_size() bytes.
  int64_t written_end_offset() const { return held_.empty() ? next_offset() : held_from_; }
  int64_t written_size() const { return size() - static_cast<int64_t>(held_.size()); }
  bool has_open_file() const { return file_ != nullptr; }
  void release_file() const {
    file_.reset();
    known_.reset();
  }
  // Gives back what is kept at hand for use: the file, and what the index has, too; not if it was used since
  // the last call. Needs all of it to be synced.
  void rest();
  // The same whether it was used or not.
  void close();
  // Sets disk space aside for the file's first `bytes`. Errors: kKafkaStorageError.
  Result<> reserve(int64_t bytes);
  // Gives back what was set aside, and isn't used, of a segment that isn't appended to any more.
  // `may_be_reserved`: by another object, which this one doesn't know. What can't be given back stays.
  void trim(bool may_be_reserved);
  bool has_space_ahead() const { return reserved_end_ > size(); }

  // Writes one whole batch at the end, behind what was held back. On an error nothing of it is left in the
  // file; where that can't be made sure of, is_torn() is true from then on, and nothing may be appended any
  // more. What was held back still is, or has been written.
  Result<> append(const protocol::BatchHeader& header, Bytes batch, int64_t now_ms,
                  int32_t index_interval_bytes);
  // Gets ready to hold back a batch of this size (write_behind.h): memory, and disk space of which none is
  // set aside beyond `segment_bytes`, where the segment ends. False where it had better be written at once.
  bool prepare_to_hold_back(size_t bytes, const WriteBehindLimit& limit, int64_t segment_bytes);
  // Appends a batch without writing it yet. Needs prepare_to_hold_back; or, without a `limit`,
  // has_room_to_hold_back, and that all of it is somewhere else until file() has succeeded.
  void hold_back(const protocol::BatchHeader& header, Bytes batch, int64_t now_ms,
                 int32_t index_interval_bytes, WriteBehindLimit* limit);
  bool has_room_to_hold_back(size_t bytes) const { return held_.has_room(bytes); }
  // Takes note of a batch that stands at the end (size()), as a scan finds it.
  void note_batch(const protocol::BatchHeader& header, int32_t index_interval_bytes);
  // Believes the index for the part of the file that the summary tells of. `has_more`: of what comes behind
  // it, the index may know something, and forgets it.
  void adopt(const SegmentSummary& summary, bool has_more);
  // Believes what compaction says of the file that it wrote. The entries stay in memory until seal_stored.
  void adopt_compacted(const SegmentSummary& summary, std::vector<IndexEntry> entries);
  // Forgets all batches, in the index too; the file stays as it is. If it is to be written again, flush the
  // index first: after a crash the old summary would be back, and believed if the file happened to have its
  // old size.
  void forget_batches();
  // Stores the rest of the entries and the summary in the index, for a segment that isn't appended to for
  // now.
  void seal(bool synced);
  // The same where the index has the entries already.
  void seal_stored();
  // Takes the summary out of the index: from the next flush of that on, a start after a crash reads the file.
  void unseal();
  // Stores the entries and an earlier summary() of this segment, up to which it is synced by now, while it
  // goes on: the next start reads only what comes behind.
  void checkpoint(SegmentSummary synced);
  // Has each start read the file, whatever is stored in the index from now on: its content is damaged.
  void mark_damaged();
  // What the index has of a part that is synced; nullopt without one.
  std::optional<SegmentSummary> covered() const;
  bool is_torn() const { return torn_; }

  // The first batch that holds `offset` or lies beyond it; nullopt when there is none. This and the next
  // three don't wait for the disk when they get a `missing` (missing_data.h). Errors: kKafkaStorageError,
  // kCorruptMessage, kOperationNotAttempted.
  Result<std::optional<BatchAt>> find(int64_t offset, MissingData* missing) const;
  // Where that batch begins; size() when there is none. Mostly known without a look at index and file.
  Result<int64_t> position_of(int64_t offset, MissingData* missing) const;
  // Where to begin the search for `offset`, or for the first batch with a timestamp of at least
  // `timestamp_ms`. Without a sound index it is the start of the segment; fails only with
  // kOperationNotAttempted.
  Result<IndexEntry> floor_offset(int64_t offset, MissingData* missing) const;
  Result<IndexEntry> floor_timestamp(int64_t timestamp_ms, MissingData* missing) const;
  IndexEntry floor_offset(int64_t offset) const { return *floor_offset(offset, nullptr); }
  const std::vector<IndexEntry>& entries_in_memory() const { return entries_; }

 private:
  Result<std::shared_ptr<File>> open_file() const;
  Result<> write_held(File& file) const;
  bool set_aside(File& file, int64_t end, int64_t segment_bytes);
  void note_append(const protocol::BatchHeader& header, int64_t now_ms, int32_t index_interval_bytes);
  Result<bool> is_before_lower(const File& file, const BatchAt& batch, MissingData* missing) const;
  Result<IndexEntry> checked(const Result<std::optional<IndexEntry>>& stored, MissingData* missing) const;
  KnownPositions& known() const;
  bool store(const SegmentSummary& summary);
  IndexEntry start() const { return {base_offset(), 0, -1}; }

  FileSystem& files_;
  OffsetIndex& index_;
  const SegmentKey key_;
  const std::string path_;
  SegmentSummary summary_;
  int64_t created_ms_;
  int64_t last_append_ms_ = 0;
  int64_t bytes_since_entry_ = kEntryDue;
  std::optional<SegmentSummary> stored_;  // what the index has
  bool torn_ = false;
  bool damaged_ = false;
  bool may_be_trimmed_ = false;  // much may be set aside behind its end
  bool can_reserve_ = true;
  int64_t reserved_end_ = 0;  // what comes before it has its space on disk, if it isn't written yet
  std::vector<IndexEntry> entries_;
  size_t stored_entries_ = 0;  // how many of entries_ the index has, too
  mutable HeldBatches held_;   // in the summary, but not in the file
  int64_t held_from_ = 0;      // the offset at which they begin
  mutable bool used_ = false;  // since the last rest()
  mutable std::shared_ptr<File> file_;
  mutable std::unique_ptr<KnownPositions> known_;  // while the file is open and used
};

}  // namespace millrace::storage
