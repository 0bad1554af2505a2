// Compaction of a log: of all records with the same key the last one stays. What reads segments and writes
// them anew, apart from the log that they belong to, so that it may run on another thread. Kafka's rules (the
// Cleaner of Apache Kafka 4.3):
//
// - A first pass over the dirty part, from the first dirty offset on, notes the latest offset of each key, as
//   far as the memory goes. A second pass copies every segment from the log's oldest to the end of the first
//   pass, without the records that have a later one with their key. What lies beyond is left as it is.
// - Offsets never change. A batch keeps its base offset, last offset, leader epoch, producer, sequence and
//   codec; if all its records stay it is copied byte for byte.
// - A tombstone (a record without value) stays until the delete horizon of its batch, which is set to
//   delete.retention.ms from now when a compaction first meets it (KIP-534). What it hides is in its own
//   segment or in those before it, which must therefore be swapped, durably, before it is.
// - The last batch of an active producer stays, empty if need be, and so does the last batch of a segment:
// the
//   first for the sequence number, the second so that a segment ends where it ended.
// - Records without key are dropped; control batches stay.
// - Adjacent segments become one as long as they fit.
//
// What is written is "<base offset>.log.cleaned" in the partition's directory, until the log takes it in
// (Log::swap_in).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "protocol/record_batch.h"
#include "protocol/result.h"
#include "storage/file_system.h"
#include "storage/forward_reader.h"
#include "storage/key_offset_map.h"
#include "storage/offset_index.h"

namespace millrace::storage {

// A sealed segment.
struct CompactionSource {
  std::string path;
  int64_t base_offset = 0;
  int64_t next_offset = 0;
  int64_t size = 0;
};

// What the log says of itself when a compaction begins (Log::plan_compaction).
struct CompactionPlan {
  std::string directory;
  // From the oldest on; the last is the last that may be compacted.
  std::vector<CompactionSource> sources;
  int64_t first_dirty_offset = 0;
  // Producers that are active, with the last offset of each.
  std::unordered_map<int64_t, int64_t> producers;
  int64_t now_ms = 0;
  int64_t delete_retention_ms = 0;
  int64_t segment_bytes = 0;
  int32_t index_interval_bytes = 0;
  // For the log, to see whether it was truncated meanwhile.
  uint64_t version = 0;
};

// A segment that takes the place of others.
struct CompactedSegment {
  static constexpr std::string_view kSuffix = ".cleaned";

  std::string path;  // of its file, which is synced
  // What it replaces, one following the other. Its base offset and its end are theirs.
  std::vector<CompactionSource> sources;
  SegmentSummary summary;
  std::vector<IndexEntry> entries;
};

struct CompactionStats {
  int64_t bytes_read = 0;
  int64_t bytes_written = 0;
  int64_t records_read = 0;  // of the second pass
  int64_t records_kept = 0;
  int64_t bytes_before = 0;  // of the segments that were replaced or found unchanged
  int64_t bytes_after = 0;
};

class Compaction {
 public:
  enum class State { kReading, kCopying, kSegmentReady, kDone };

  // `memory_bytes` bounds what is known of the keys; `secret` should be a random number.
  Compaction(FileSystem& files, CompactionPlan plan, size_t memory_bytes, const HashSecret& secret);
  virtual ~Compaction() = default;

  // Goes on until about `io_bytes` have been read and written, a segment is ready, or all is done. Errors:
  // kCorruptMessage for damage in a segment, with file, position and offset: there is no going on then.
  // kKafkaStorageError.
  Result<State> advance(int64_t io_bytes);
  // In kSegmentReady, once.
  CompactedSegment take_segment();
  // Removes the file that is being written. A compaction that isn't done when it ends needs it.
  void discard();

  const CompactionPlan& plan() const { return plan_; }
  // What is compacted at the end: the first dirty offset of the next time. Known after the first pass.
  int64_t end_offset() const { return end_offset_; }
  const CompactionStats& stats() const { return stats_; }

 protected:
  // Tests plant their faults here.
  virtual bool note_key(Bytes key, int64_t offset);
  virtual bool keeps(const protocol::BatchHeader& header, const protocol::RecordView& record) const;

 private:
  // The source that is being read.
  struct Reading {
    std::shared_ptr<File> file;
    ForwardReader reader;
    int64_t position = 0;
    int64_t due_offset = 0;
  };
  struct FoundBatch {
    protocol::BatchHeader header;
    Bytes bytes;
  };
  class Output;

  Result<> open_source();
  Result<std::optional<FoundBatch>> next_batch();
  std::unexpected<Error> damage(std::string_view what) const;
  Result<> for_each_record(const FoundBatch& batch,
                           const std::function<bool(const protocol::RecordView&)>& fn) const;

  Result<> read_on();
  Result<> note_batch(const FoundBatch& batch);
  void begin_copying();

  Result<> copy_on();
  Result<> begin_output();
  Result<> end_source();
  Result<> finish_output();
  bool fits_too(const CompactionSource& next) const;
  Result<> copy_batch(const FoundBatch& batch);
  Result<> rewrite(const FoundBatch& batch, const std::vector<bool>& kept, bool has_tombstone);
  Result<> drop_batch(const FoundBatch& batch);
  bool holds_a_producer(const protocol::BatchHeader& header) const;

  FileSystem& files_;
  const CompactionPlan plan_;
  KeyOffsetMap latest_;
  State state_ = State::kReading;
  size_t source_ = 0;
  std::unique_ptr<Reading> reading_;
  int64_t end_offset_;
  // The last offset of each active producer in the dirty part.
  std::unordered_map<int64_t, int64_t> last_dirty_;
  std::shared_ptr<Output> output_;
  CompactionStats stats_;
};

}  // namespace millrace::storage
