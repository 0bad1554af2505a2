// Which leader epoch began at which offset: tells a follower or a consumer where its log parts from the
// leader's (KIP-101, KIP-279, KIP-320). Kept in memory, and in the file "leader-epoch-checkpoint" of the
// partition, which is replaced and synced at each change; the batches hold the same facts, so a lost file is
// rebuilt by a scan.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "protocol/result.h"
#include "storage/file_system.h"

namespace millrace::storage {

struct EpochEntry {
  int32_t epoch = 0;
  int64_t start_offset = 0;
  auto operator<=>(const EpochEntry&) const = default;
};

struct EpochEndOffset {
  int32_t epoch = -1;
  int64_t end_offset = -1;
  auto operator<=>(const EpochEndOffset&) const = default;
};

class LeaderEpochs {
 public:
  static constexpr std::string_view kFileName = "leader-epoch-checkpoint";

  // Reads the checkpoint in `directory`; without one, or with one that doesn't parse, starts empty
  // (`load_problem` then says what was wrong with the file).
  LeaderEpochs(FileSystem& files, std::string directory);

  // Notes that `epoch` begins at `start_offset`; entries that contradict this go away. Nothing changes when
  // the latest epoch is this one already, or when the checkpoint can't be written: kKafkaStorageError, and
  // the next attempt writes it.
  Result<> assign(int32_t epoch, int64_t start_offset);
  // The same for the first epoch of a new log, without a sync: what a crash leaves of the file either parses
  // or is rebuilt from the few batches that there are.
  Result<> begin(int32_t epoch, int64_t start_offset);
  // Drops epochs that begin at or beyond `end_offset`.
  Result<> truncate_from_end(int64_t end_offset);
  // Lets the oldest epoch that still has records begin at `start_offset`, and drops those before it. In
  // memory: a start does it again, and the file follows when it is next written.
  void truncate_from_start(int64_t start_offset);
  Result<> clear();
  // Replaces all entries by those that a scan of the log found.
  Result<> rebuild(std::vector<EpochEntry> entries);

  std::optional<int32_t> latest_epoch() const;
  // The epoch that `offset` belongs to; nullopt before the first one.
  std::optional<int32_t> epoch_of(int64_t offset) const;
  // What OffsetForLeaderEpoch answers: the largest epoch not above `epoch`, and where the next one begins
  // (`log_end_offset` for the latest). {-1, -1} when `epoch` is -1 or above the latest one; for an epoch
  // before the first one, that epoch and the offset where the first one begins.
  EpochEndOffset end_offset_for(int32_t epoch, int64_t log_end_offset) const;
  const std::vector<EpochEntry>& entries() const { return entries_; }
  const std::string& load_problem() const { return load_problem_; }

 private:
  std::string text() const;
  Result<> store() const;

  FileSystem& files_;
  const std::string directory_;
  std::vector<EpochEntry> entries_;  // ascending in epoch and in offset
  std::string load_problem_;
};

}  // namespace millrace::storage
