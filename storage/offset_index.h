// The offset and time index of all partitions of a data directory, in one RocksDB.
//
// It is a cache: it has no write-ahead log, it is rebuilt from the segments where it is missing or damaged,
// and no answer of it is believed without a look at the batch it points to. Writes become durable in the
// order in which they were made, so what is there is the state of some earlier moment.
//
// A segment's entries are stored in blocks; a segment is covered as far as its summary says. Any thread may
// call any function.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/result.h"
#include "protocol/topic_partition.h"

namespace rocksdb {
class DB;
class Env;
class Status;
class WriteBatch;
}  // namespace rocksdb

namespace millrace::storage {

struct IndexEntry {
  int64_t offset = 0;             // base offset of a batch
  int64_t position = 0;           // where it begins in the segment file
  int64_t max_timestamp_ms = -1;  // the largest of all batches before it in the segment
  auto operator<=>(const IndexEntry&) const = default;
};

struct SegmentSummary {
  int64_t base_offset = 0;
  int64_t size = 0;
  int64_t next_offset = 0;  // last offset + 1
  int64_t max_timestamp_ms = -1;
  int64_t max_timestamp_offset = -1;  // base offset of the first batch that has it
  int64_t first_timestamp_ms = -1;    // max timestamp of the first batch: segment.ms counts from it
  bool synced = false;                // the segment file was synced up to its size
  auto operator<=>(const SegmentSummary&) const = default;
};

struct SegmentKey {
  TopicIdPartition partition;
  int64_t base_offset = 0;
};

class OffsetIndex {
 public:
  // Opens the database in `directory`, or makes a new one. A damaged one is removed and begun anew;
  // rebuilt_because() then says why. Errors: kKafkaStorageError for whatever else keeps it from being opened
  // (no space, no descriptors, no permission, a failing disk): what is stored stays as it is.
  static Result<std::unique_ptr<OffsetIndex>> open(const std::string& directory);
  // Of a directory that another process may have open; sees what that one has made durable. Nothing can be
  // written.
  static Result<std::unique_ptr<OffsetIndex>> open_read_only(const std::string& directory);
  // Without a directory, for tests: lives as long as the object.
  static Result<std::unique_ptr<OffsetIndex>> open_in_memory();
  // What a kill or a power loss leaves of such an index: the state at its last flush.
  static Result<std::unique_ptr<OffsetIndex>> reopen_without_flush(std::unique_ptr<OffsetIndex> index);
  ~OffsetIndex();

  const std::string& rebuilt_because() const { return rebuilt_because_; }

  // All errors of the functions below: kKafkaStorageError. A read that meets damage also leaves a mark, by
  // which the next start begins the index anew; until then lookups in the damaged part fail, and searches
  // take longer.

  // From now on nothing that this thread stores (add_block, seal, add_producers) waits for a disk that is
  // slower than what is written, which may take as long as the disk stands still: it fails with
  // kOperationNotAttempted instead. What is lost by that makes a later start or lookup longer, nothing else.
  // Removals, without which something wrong would be believed, wait. For the threads of shards.
  static void never_wait_on_this_thread();

  // Adds entries of a segment, in order of their offsets.
  Result<> add_block(const SegmentKey& key, std::span<const IndexEntry> entries);
  // Adds the rest of a segment's entries and its summary at once.
  Result<> seal(const SegmentKey& key, std::span<const IndexEntry> entries, const SegmentSummary& summary);
  // The segment is no longer covered; its entries stay.
  Result<> remove_summary(const SegmentKey& key);
  // Removes the entries at `offset` and beyond it.
  Result<> remove_entries_from(const SegmentKey& key, int64_t offset);
  Result<> remove_segment(const SegmentKey& key);
  Result<> remove_partition(const TopicIdPartition& partition);

  // A snapshot of a partition's producer state as of `offset`, and in its place those of `obsolete` offsets
  // go. (To look for them would cost more than all else: behind what was deleted before, a seek walks it
  // all.)
  Result<> add_producers(const TopicIdPartition& partition, int64_t offset, Bytes snapshot,
                         std::span<const int64_t> obsolete = {});
  struct ProducerSnapshot {
    int64_t offset;
    Buffer bytes;
  };
  // The latest first.
  Result<std::vector<ProducerSnapshot>> producers(const TopicIdPartition& partition) const;
  Result<> remove_producers(const TopicIdPartition& partition);

  // How far a lookup may go: one that is kept to memory fails with kOperationNotAttempted where it would have
  // to wait for the disk. The same lookup with kDisk then brings into memory what it needs.
  enum class Reach { kMemory, kDisk };

  // The last entry with an offset of at most `offset`.
  Result<std::optional<IndexEntry>> floor_offset(const SegmentKey& key, int64_t offset,
                                                 Reach reach = Reach::kDisk) const;
  // The last entry before which all timestamps are below `timestamp_ms`.
  Result<std::optional<IndexEntry>> floor_timestamp(const SegmentKey& key, int64_t timestamp_ms,
                                                    Reach reach = Reach::kDisk) const;
  Result<std::vector<SegmentSummary>> summaries(const TopicIdPartition& partition) const;
  Result<std::vector<IndexEntry>> entries(const SegmentKey& key) const;

  // Returns once everything written so far is on disk.
  Result<> flush();

 private:
  OffsetIndex(std::unique_ptr<rocksdb::Env> env, std::unique_ptr<rocksdb::DB> db, std::string directory);
  static Result<std::unique_ptr<OffsetIndex>> open_in(std::unique_ptr<rocksdb::Env> memory);
  enum class IfStalled { kWait, kRefuse };
  Result<> write(rocksdb::WriteBatch& batch, IfStalled if_stalled);
  Result<> checked(const rocksdb::Status& status) const;

  std::unique_ptr<rocksdb::Env> env_;  // outlives db_
  std::unique_ptr<rocksdb::DB> db_;
  const std::string directory_;  // empty: nothing to mark
  bool writable_ = true;
  std::string rebuilt_because_;
};

}  // namespace millrace::storage
