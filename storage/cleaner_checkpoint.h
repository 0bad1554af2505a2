// How far a partition's log is compacted, in its small file "cleaner-checkpoint".
//
// Two threads write it: a compaction in the disk pool moves the first dirty offset up, the shard moves it
// down when it truncates. What was planned before a truncation must not overwrite what the truncation wrote,
// and what a compaction of a deleted topic wrote must not appear in a new one's directory: hence the version
// and the closing.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

#include "protocol/result.h"
#include "storage/file_system.h"

namespace millrace::storage {

struct OffsetRange {
  int64_t begin = 0;
  int64_t end = 0;
  auto operator<=>(const OffsetRange&) const = default;
};

class CleanerCheckpoint {
 public:
  static constexpr std::string_view kFileName = "cleaner-checkpoint";

  // Reads the file in `directory`. Without one, or with one that doesn't parse (load_problem() then says so),
  // nothing is clean.
  CleanerCheckpoint(FileSystem& files, std::string directory);

  // Below it no two records have the same key; nullopt when nothing was ever compacted.
  std::optional<int64_t> first_dirty_offset() const;
  // The offsets of the segments that were last merged into one, as announced before.
  const std::optional<OffsetRange>& merging() const { return merging_; }
  const std::string& load_problem() const { return load_problem_; }
  // Whether a compaction may have changed anything when this was read.
  bool was_used() const { return first_dirty_offset() || merging_ || !load_problem_.empty(); }

  // For advance and announce_merge: goes up with each lowering.
  uint64_t version() const { return version_; }

  // Any thread, durable on return; nothing is written, and false returned, when the checkpoint was lowered or
  // closed since `version`. Errors: kKafkaStorageError.
  Result<bool> advance(int64_t first_dirty_offset, uint64_t version);
  Result<bool> announce_merge(const OffsetRange& range, uint64_t version);

  // On the shard, durable on return: nothing at or beyond `offset` is compacted any more.
  Result<> lower(int64_t offset);
  // Nothing is written from now on.
  void close();

 private:
  static constexpr int64_t kNothing = -1;

  Result<> store(int64_t first_dirty_offset, const std::optional<OffsetRange>& merging);

  FileSystem& files_;
  const std::string directory_;
  std::string load_problem_;
  std::mutex mutex_;
  // Read without the lock, which is held as long as a sync takes.
  std::atomic<int64_t> first_dirty_offset_ = kNothing;
  std::optional<OffsetRange> merging_;
  std::atomic<uint64_t> version_ = 0;
  bool closed_ = false;
};

}  // namespace millrace::storage
