// Makes appended records durable: one loop per shard that takes everything appended since its last round to
// disk, in the disk pool, and then tells the partitions. Appends that arrive meanwhile share the next round
// (group commit).
//
// Most records go to the shard's journal, all of them with one write or a few; logs with much to write, and
// topics that are synced only now and then, have their segments synced (storage::Log::take_commit decides).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "broker/replication/checkpointer.h"
#include "broker/runtime/disk_pool.h"
#include "broker/runtime/notifier.h"
#include "broker/runtime/shard.h"
#include "broker/runtime/task.h"
#include "storage/journal.h"
#include "storage/log_directory.h"

namespace millrace::replication {

class Partition;

class CommitLoop {
 public:
  struct Options {
    runtime::DiskPool& sync_pool;  // for what acknowledgements wait for
    runtime::DiskPool& disk_pool;  // for the rest
    storage::FileSystem& files;
    storage::LogDirectory& log_directory;
    // Called on the shard with what went wrong. After a failed sync nobody knows what is on disk and a second
    // sync may lie, so it must end the process.
    std::function<void(const Error&)> sync_failed;
  };

  // What `options` refers to outlives the loop.
  CommitLoop(runtime::Shard& shard, Options options);

  // For the logs of this shard, which end before the loop does.
  storage::Journal& journal() { return journal_; }
  // For what of the logs waits for the disk, and isn't acknowledged by it.
  runtime::DiskPool& disk_pool() { return options_.disk_pool; }

  // A partition's log has `bytes` more.
  void appended(Partition& partition, size_t bytes) {
    checkpointer_.appended(partition, bytes);
    ++appends_;
  }
  // A start has read `bytes` of the partition's log, and would read them again: the next checkpoint has them.
  void recovered(Partition& partition, int64_t bytes) {
    checkpointer_.appended(partition, static_cast<size_t>(bytes));
  }
  // Has what the partition's log holds now made durable, with the next round.
  void request_sync(Partition& partition);
  // The same, but not before the deadline unless something else asks for it (flush.ms).
  void request_sync_by(Partition& partition, int64_t deadline_ns);

  // Runs until stop(). Once, on the shard.
  runtime::Task<> run();
  // Returns when everything requested so far is durable and run() has ended.
  runtime::Task<> stop();

 private:
  struct Round;

  runtime::Task<> gather();
  runtime::Task<> commit_round();
  Round take_round();
  void request_what_is_due();
  void prepare_file();
  runtime::Task<> add_file();

  runtime::Shard& shard_;
  const Options options_;
  storage::Journal journal_;
  Checkpointer checkpointer_;
  std::vector<std::weak_ptr<Partition>> requested_;
  std::multimap<int64_t, std::weak_ptr<Partition>> by_deadline_;
  int64_t next_file_try_ns_ = 0;
  bool preparing_file_ = false;
  uint64_t appends_ = 0;
  runtime::Notifier wakeup_;
  runtime::Notifier ended_;
  bool stopping_ = false;
  bool running_ = false;
};

}  // namespace millrace::replication
