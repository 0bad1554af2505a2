// One replica of a partition: its log, its leader epoch, its high watermark, and whoever waits for these to
// move.
//
// Lives on one shard, which alone touches it. With one replica the high watermark is the end of what is
// durable: consumers are shown only what a crash can't take back.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "broker/replication/fetch_waiter.h"
#include "broker/runtime/notifier.h"
#include "broker/runtime/task.h"
#include "protocol/bytes.h"
#include "protocol/result.h"
#include "protocol/topic_partition.h"
#include "storage/log.h"

namespace millrace::replication {

class CommitLoop;

struct ReadRequest {
  int64_t fetch_offset = 0;
  int32_t current_leader_epoch = -1;  // -1: the client doesn't know (KIP-320)
  int32_t last_fetched_epoch = -1;    // -1: no check for divergence (KIP-595)
  int32_t replica_id = -1;            // -1 and -2: a consumer
  size_t max_bytes = 0;
  bool at_least_one_batch = false;
};

struct ReadOutcome {
  ErrorCode error = ErrorCode::kNone;
  int64_t high_watermark = -1;
  int64_t last_stable_offset = -1;
  int64_t log_start_offset = -1;
  std::optional<storage::EpochEndOffset> diverging_epoch;
  std::optional<storage::FileSlice> slice;  // absent when there is nothing to send
};

enum class Acks : int16_t { kNone = 0, kLeader = 1, kAll = -1 };

class Partition : public std::enable_shared_from_this<Partition> {
 public:
  // `commit_loop` syncs this shard's logs and outlives the partition.
  Partition(std::unique_ptr<storage::Log> log, std::string topic, int32_t leader_epoch,
            CommitLoop& commit_loop);

  const TopicIdPartition& id() const { return id_; }
  const std::string& topic() const { return topic_; }
  int32_t leader_epoch() const { return leader_epoch_; }
  // A newer epoch from the metadata; an older one is ignored.
  void set_leader_epoch(int32_t leader_epoch);
  storage::Log& log() { return *log_; }
  const storage::Log& log() const { return *log_; }

  // The first offset that consumers are not shown yet.
  int64_t high_watermark() const { return high_watermark_; }
  // Where readers of committed records stop (KIP-98); the high watermark while no transaction is open.
  int64_t last_stable_offset() const { return high_watermark_; }

  // Writes the batch of a produce request and has it synced. The batch is patched in place (offsets, epoch).
  // Errors: those of storage::Log::append_as_leader; kNotLeaderOrFollower once removed.
  std::expected<storage::AppendInfo, storage::AppendError> append(
      MutableBytes records, int64_t now_ms, storage::AppendOrigin origin = storage::AppendOrigin::kClient);

  // Returns once the records before `end_offset` may be acknowledged: durable, and (with more replicas,
  // acks=all) held by every in-sync replica. kRequestTimedOut at the deadline, kNotLeaderOrFollower when the
  // partition was removed meanwhile.
  runtime::Task<Result<>> wait_acknowledged(int64_t end_offset, Acks acks, int64_t deadline_ns);

  // Reads for a fetch. Errors are in the outcome, as Fetch answers them: kFencedLeaderEpoch,
  // kUnknownLeaderEpoch, kOffsetOutOfRange, kNotLeaderOrFollower, kKafkaStorageError. Doesn't wait for the
  // disk when it gets a `missing` (storage/missing_data.h; look_up.h): the outcome counts only if nothing is.
  ReadOutcome read(const ReadRequest& request, storage::MissingData* missing = nullptr);
  // To be told when more can be read than now.
  void wait_for_more(const std::shared_ptr<FetchWatch>& watch, uint32_t number) {
    fetch_waiters_.add(watch, number);
  }
  // For whoever has changed what fetches see of the log in another way than through this class.
  void tell_readers() { fetch_waiters_.signal_all(); }

  // The end of the records of that epoch, or of the largest before it (OffsetForLeaderEpoch, KIP-101).
  Result<storage::EpochEndOffset> end_offset_for_epoch(int32_t current_leader_epoch,
                                                       int32_t leader_epoch) const;
  // The leader epoch of the record at `offset`; at the log's end that of the next one. Nothing where the log
  // doesn't know.
  std::optional<int32_t> epoch_of(int64_t offset) const;
  // kNone, kFencedLeaderEpoch or kUnknownLeaderEpoch; negative for a client that doesn't know.
  ErrorCode check_leader_epoch(int32_t current_leader_epoch) const;

  // Moves the log start offset up; -1 means to the high watermark. Returns the new log start offset, once it
  // is durable. kOffsetOutOfRange beyond the high watermark, kPolicyViolation where cleanup.policy lacks
  // "delete".
  runtime::Task<Result<int64_t>> delete_records(int64_t before_offset);

  // For the commit loop: flush.ms has passed since the oldest record that wasn't synced then.
  void sync_due();
  // For the commit loop: whether this partition waits for its next round, or for the next checkpoint; and
  // that what a round took is on disk.
  bool sync_requested() const { return sync_requested_; }
  void set_sync_requested(bool requested) { sync_requested_ = requested; }
  bool checkpoint_requested() const { return checkpoint_requested_; }
  void set_checkpoint_requested(bool requested) { checkpoint_requested_ = requested; }
  void committed(const storage::LogCommit& commit);
  // For the cleaner: whether a compaction of it is under way.
  bool compacting() const { return compacting_; }
  void set_compacting(bool compacting) { compacting_ = compacting; }
  // For the table: retention was due meanwhile. The other one returns whether it was, and forgets it.
  void hold_retention() { holds_retention_ = true; }
  bool take_held_retention() { return std::exchange(holds_retention_, false); }

  // Takes the log out of service: waiters are told, later calls fail.
  std::unique_ptr<storage::Log> remove();
  bool removed() const { return log_ == nullptr; }

 private:
  storage::EpochEndOffset end_offset_of(int32_t epoch) const;
  void advance_high_watermark(int64_t offset);

  std::unique_ptr<storage::Log> log_;  // null once removed
  TopicIdPartition id_;
  std::string topic_;
  int32_t leader_epoch_;
  int64_t high_watermark_;
  CommitLoop& commit_loop_;
  bool sync_requested_ = false;
  bool checkpoint_requested_ = false;
  int64_t records_since_sync_ = 0;
  bool sync_is_planned_ = false;
  bool compacting_ = false;
  bool holds_retention_ = false;
  runtime::Notifier acknowledged_;
  FetchWaiterList fetch_waiters_;
};

}  // namespace millrace::replication
