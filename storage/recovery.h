// What a start finds in segment files that the index doesn't cover.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "protocol/record_batch.h"
#include "protocol/result.h"
#include "storage/damage.h"
#include "storage/file_system.h"
#include "storage/journal_format.h"
#include "storage/offset_chain.h"

namespace millrace::storage {

// What opening a log did beyond reading the index; empty after a clean shutdown.
struct RecoveryReport {
  struct Cut {
    std::string file;
    int64_t position = 0;  // where the sound part ends
    int64_t bytes = 0;     // how much was cut off
    std::string reason;
    // Kept beside it, as the file's name with ".cut" behind.
    bool set_aside = false;
  };
  size_t segments_covered = 0;  // taken from the index, not read
  size_t segments_scanned = 0;
  int64_t bytes_scanned = 0;
  int64_t batches_replayed = 0;  // for the producer state
  int64_t batches_restored = 0;  // from the journal
  std::vector<Cut> cuts;
  // Of synced data: left where it is, and not served.
  std::vector<DamagedRange> damages;
  // What a person may have to see to: something isn't as it was, and nothing else can tell.
  std::vector<std::string> warnings;
  // Everything else worth a line in the log: files removed, checkpoints rebuilt.
  std::vector<std::string> notes;
};

struct ScanResult {
  int64_t valid_bytes = 0;
  // Why the scan ended before the file did; empty when all of it is sound.
  std::string damage;
  // Of the damage: nothing but the offsets of the batch are wrong.
  bool has_sound_contents = false;
  // And the batches around it prove that its base offset should be the one that was due.
  bool is_misplaced = false;
};

// What is wrong with a batch's length, where `bytes_left` are left of the file; empty if nothing is.
std::string length_damage(const protocol::BatchHeader& header, int64_t bytes_left);
// The words for a batch whose CRC is wrong.
std::string crc_damage(const protocol::BatchHeader& header);

// Goes through the batches of a segment file from `position` on: sizes, magic, CRC, offsets (`chain`). Calls
// `visit` for each sound batch, up to the first that isn't. Errors: kKafkaStorageError when the file can't be
// read.
Result<ScanResult> scan_segment(const File& file, int64_t position, OffsetChain chain,
                                const std::function<void(const protocol::BatchHeader&)>& visit);

// What a log keeps in the small file "log-checkpoint".
struct LogCheckpoint {
  static constexpr std::string_view kFileName = "log-checkpoint";

  int64_t log_start_offset = 0;
  // Records below were synced when this was written.
  int64_t recovery_point = 0;
  // What the journal of this run has from before this position isn't the log's any more (a truncation).
  JournalPosition journal_floor;
  // Read only: whether every segment from log_start_offset on has its file, or one that waits to be removed.
  // Those that stored a checkpoint before this was in it removed segments without telling.
  bool is_start_exact = false;
};

// nullopt when there is no checkpoint; kCorruptMessage when it doesn't parse.
Result<std::optional<LogCheckpoint>> load_checkpoint(FileSystem& files, const std::string& directory);
Result<> store_checkpoint(FileSystem& files, const std::string& directory, const LogCheckpoint& checkpoint);

// Writes a log's checkpoint from several threads: of two contents the later one stays, whichever is stored
// first.
class LogCheckpointFile {
 public:
  LogCheckpointFile(FileSystem& files, std::string directory)
      : files_(files), directory_(std::move(directory)) {}

  // The shard's thread: what is given out later has a higher number.
  uint64_t next_version() { return ++last_version_; }
  // Any thread. Durable on return; nothing is done where a higher version was stored, or after close().
  Result<> store(const LogCheckpoint& checkpoint, uint64_t version);
  // The log is gone; its directory may be another's.
  void close();

 private:
  FileSystem& files_;
  const std::string directory_;
  uint64_t last_version_ = 0;
  std::mutex mutex_;
  uint64_t stored_version_ = 0;
  bool closed_ = false;
};

}  // namespace millrace::storage
