// A shard's journal: makes the records of all its partitions durable with one write.
//
// Batches are staged when they are appended to their logs; the commit loop takes what is staged as a
// group, or as several where it is much, and has them written, in the disk pool, to a preallocated file. The
// segments are synced later, by a checkpoint, after which the journal's full files are free again.
//
// Used by the shard's thread, but for write(). Batches that don't fit (no file ready, all groups at their
// limit) aren't staged: their segments are synced instead, which costs more the more logs they are of.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/result.h"
#include "protocol/topic_partition.h"
#include "storage/file_system.h"
#include "storage/journal_format.h"
#include "storage/write_behind.h"

namespace millrace::storage {

class Journal {
 public:
  // The current one, full ones until their checkpoint, and a spare one.
  static constexpr size_t kMaxFiles = 8;
  // That are staged at once.
  static constexpr size_t kMaxGroups = 4;

  // A group on its way to the disk.
  struct Write {
    std::shared_ptr<File> file;
    int64_t position = 0;
    Bytes bytes;
  };

  // `run`: JournalDirectory::next_run. `file_bytes`: of each file. `group_bytes`: of each group, at most.
  Journal(const JournalRun& run, int64_t file_bytes, size_t group_bytes = kJournalMaxGroupBytes)
      : run_(run),
        groups_end_(file_bytes - static_cast<int64_t>(kJournalBlockBytes)),
        group_bytes_(std::min(group_bytes, static_cast<size_t>(groups_end_ - kGroupsBegin))),
        staging_(run.salt) {}

  // Takes a copy of a batch that was appended to a log that had ended at `log_end_offset`, for what take()
  // returns next; false if there is no room for it.
  bool stage(const TopicIdPartition& partition, int64_t log_end_offset, Bytes batch);
  // Drops what is staged for a partition (its log was truncated), but for what is before next_position().
  void forget(const TopicIdPartition& partition);
  // Of the group that is being staged. What a log appends from now on gets this position or a later one. Any
  // thread: a log that is opened asks in the disk pool.
  JournalPosition next_position() const {
    return {run_.number, next_number_.load(std::memory_order_relaxed)};
  }
  // For JournalDirectory::take_file.
  const JournalRun& run() const { return run_; }

  // The staged batches as groups, to be written in this order, each after the one before is on disk: of those
  // that a crash cuts off, only the last may be torn. Empty if there are none. Those before must be done.
  // `bytes` stay until done().
  std::vector<Write> take();
  // Returns once the group is on disk. Any thread. After an error nobody knows what is there.
  static Result<> write(const Write& group);
  void done();

  // Whether take_file of the JournalDirectory should be asked for one more.
  bool wants_file() const { return !spare_ && files_ < kMaxFiles; }
  // Keeps the file; but returns it, for JournalDirectory::give_back, if a checkpoint has given one back while
  // it was made.
  [[nodiscard]] std::shared_ptr<File> add_file(std::shared_ptr<File> file);
  // Files with nothing but groups that are done. A checkpoint takes them at its start, and gives them back at
  // its end with reuse().
  std::vector<std::shared_ptr<File>> take_full();
  // What was staged before next_position() was `position` is in synced segments: a start needn't read it.
  void set_needed_from(const JournalPosition& position) { needed_from_ = position.number; }
  bool has_full() const { return !full_.empty(); }
  // Whether there is a file for what is staged; stage() may still find that it has no room.
  bool has_file() const { return current_ || spare_; }
  // Takes back what take_full has returned, where the checkpoint couldn't be completed.
  void put_back_full(std::vector<std::shared_ptr<File>> files);
  // What the shard's logs hold back, because it is staged here.
  WriteBehindLimit& write_behind() { return write_behind_; }
  // Keeps a file if it needs one; else returns it, for JournalDirectory::give_back.
  [[nodiscard]] std::shared_ptr<File> reuse(std::shared_ptr<File> file);

 private:
  bool fits_current(size_t bytes) const {
    return current_ && position_ + static_cast<int64_t>(bytes) <= groups_end_;
  }

  // Of a round, in the order of their numbers.
  struct Groups {
    std::vector<JournalGroupBuilder> builders;
    std::vector<Write> writes;
    std::vector<std::shared_ptr<File>> filled;  // files that no later group goes to
  };

  void close_group();

  static constexpr int64_t kGroupsBegin = kJournalBlockBytes;

  const JournalRun run_;
  const int64_t groups_end_;  // in each file
  const size_t group_bytes_;
  std::atomic<uint64_t> next_number_ = 1;
  uint64_t needed_from_ = 1;
  JournalGroupBuilder staging_;
  Groups closed_;
  Groups writing_;
  std::vector<JournalGroupBuilder> idle_;
  std::shared_ptr<File> current_;
  int64_t position_ = 0;  // in current_
  std::shared_ptr<File> spare_;
  std::vector<std::shared_ptr<File>> full_;
  size_t files_ = 0;
  WriteBehindLimit write_behind_;
};

}  // namespace millrace::storage
