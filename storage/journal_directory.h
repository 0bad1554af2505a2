// The journal files of a data directory: preallocated, reused, and read at a start after a kill.
//
// Files belong to no shard: one takes a file when its journal needs it and gives it back once a checkpoint
// has made what is in it superfluous. Nobody wipes a file that is given back, so a start may find groups that
// were checkpointed long ago. That is harmless: a log takes from the journal only batches at its end (or,
// after a truncation, those that came later, see LogCheckpoint).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/result.h"
#include "protocol/topic_partition.h"
#include "storage/file_system.h"
#include "storage/journal_file.h"

namespace millrace::storage {

// A batch that was journaled. Its bytes stay in the journal's file: after a kill the log has nearly all of
// them, and memory for them would take longer to get than the file to read.
struct JournaledBatch {
  JournalPosition position;
  int64_t log_end_offset = 0;  // where the log ended before it
  int64_t next_offset = 0;     // and where behind it
  uint32_t crc = 0;            // the batch's own
  FileSlice slice;
};
// Any thread. Errors: kKafkaStorageError (the file can't be read, or has other bytes there by now).
Result<Buffer> read_journaled(const JournaledBatch& batch);

class JournalDirectory {
 public:
  static constexpr std::string_view kSuffix = ".journal";
  // Of a file. A checkpoint begins when one is full, and a start after a kill reads at most a few of these.
  static constexpr int64_t kFileBytes = int64_t{8} << 20;
  // Which they had before; the next journal that takes one cuts it to what they have now.
  static constexpr int64_t kOlderFileBytes = int64_t{16} << 20;
  // Files that are kept though no journal has a use for them now.
  static constexpr size_t kMaxFree = 16;

  // Makes the directory if need be. With `read`, reads what a killed broker left. Errors: kKafkaStorageError.
  static Result<std::unique_ptr<JournalDirectory>> open(FileSystem& files, std::string path, bool read,
                                                        int64_t file_bytes = kFileBytes);

  // How many bytes a file of the journal has that has `size` of them, if nothing is missing.
  static int64_t whole_bytes(int64_t size, int64_t file_bytes = kFileBytes) {
    return size > file_bytes ? kOlderFileBytes : file_bytes;
  }

  // What the journal has for a partition, in the order in which it was appended; valid until release. Any
  // thread.
  std::span<const JournaledBatch> recovered(const TopicIdPartition& partition) const;
  // Lines about damaged files, and those of gaps().
  const std::vector<std::string>& damages() const { return damages_; }
  // Lines about what was in files that aren't there any more.
  const std::vector<std::string>& gaps() const { return gaps_; }
  // Adds to gaps() what somebody else knows to be missing.
  void note_gap(std::string line);
  // The partition's log has everything, synced. Any thread.
  void mark_recovered(const TopicIdPartition& partition);
  // All logs were tried: only those of `failed` may still need what was read. Files that nobody needs any
  // more are used again. Any thread.
  void keep_for(std::unordered_set<TopicIdPartition> failed);

  // A run for a new journal: its number is above all that are in the files. Those of one start share all but
  // their lowest kJournalRunBits. `salt`: random, from a source that no client can look into. Any thread.
  JournalRun next_run(uint64_t salt);
  // A file to write groups of this run to, whose headers say so. Makes one if need be, which takes a while.
  // Any thread. Errors: kKafkaStorageError.
  Result<std::shared_ptr<File>> take_file(const JournalRun& run);
  // Any thread.
  void give_back(std::shared_ptr<File> file);
  // For who tells of it: whether take_file() has come to something else than the last time this was called
  // (first: than success). Any thread.
  bool note_taken(bool taken) { return takes_.exchange(taken) != taken; }

 private:
  JournalDirectory(FileSystem& files, std::string path, int64_t file_bytes)
      : files_(files), path_(std::move(path)), file_bytes_(file_bytes) {}
  struct FoundFile {
    std::string path;
    std::optional<JournalFileHeader> header;
    std::optional<JournalHeader> first;  // where the groups begin
    int64_t whole_bytes = 0;             // what it has unless it was cut off
  };

  // Numbers of groups of a run, the last one included.
  struct GroupRange {
    uint64_t run = 0;
    uint64_t first = 0;
    uint64_t last = 0;
    auto operator<=>(const GroupRange&) const = default;
  };

  struct ReadFile {
    std::string path;
    std::vector<GroupRange> groups;
    bool is_damaged = false;  // which was told
    JournalFileContent content;
  };
  class RunReading;
  class FileWindow;

  Result<> load(bool read);
  Result<> read_needed(std::vector<FoundFile> found);
  Result<ReadFile> read_file(const FoundFile& found, FileWindow& window);
  // Whether the file is one of the journal's that can be used; what isn't is told in damages_, or removed.
  Result<bool> look_at(const std::string& path, bool read, FoundFile& found);
  Result<bool> refuse_headless(const std::string& path, bool read, bool is_blank);
  void note_damage(const std::string& path, int64_t position);
  void find_gaps(const std::vector<ReadFile>& read, const std::unordered_set<uint64_t>& taken_by);
  Result<std::shared_ptr<File>> make_file(const std::string& path, const JournalRun& run);
  Result<std::shared_ptr<File>> open_filled(const std::string& path, const JournalRun& run);
  void take_back(std::string path);
  Result<> cut(File& file, int64_t size, const JournalRun& run) const;
  Result<> write_headers(File& file, int64_t size, const JournalRun& run) const;
  void release_unneeded();

  FileSystem& files_;
  const std::string path_;
  const int64_t file_bytes_;
  std::vector<std::string> damages_;
  std::vector<std::string> gaps_;
  bool lacks_files_ = false;  // of the numbers up to the highest one
  // Set by load(), then read only until released.
  std::unordered_map<TopicIdPartition, std::vector<JournaledBatch>> recovered_;

  mutable std::mutex mutex_;
  std::unordered_set<TopicIdPartition> needed_by_;
  bool all_tried_ = false;
  std::vector<std::string> unreleased_;  // paths of the files that recovered_ is of
  std::unordered_map<std::string, std::unordered_set<TopicIdPartition>> partitions_of_;  // of those
  std::vector<std::string> free_paths_;
  std::vector<std::shared_ptr<File>> free_;
  uint64_t last_run_ = 0;
  bool has_given_run_ = false;
  uint64_t last_file_ = 0;
  std::atomic<bool> takes_ = true;
};

}  // namespace millrace::storage
