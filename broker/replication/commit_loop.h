// Makes appended records durable: one loop per shard that syncs every file written since the last round, in
// the disk pool, and then tells the partitions how far they are on disk. Appends that arrive during a sync
// share the next one (group commit).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "broker/runtime/disk_pool.h"
#include "broker/runtime/notifier.h"
#include "broker/runtime/shard.h"
#include "broker/runtime/task.h"
#include "storage/log.h"

namespace millrace::replication {

class Partition;

class CommitLoop {
 public:
  // `sync_failed` is called on the shard with what went wrong. After a failed sync nobody knows what is on
  // disk and a second sync may lie, so it must end the process.
  CommitLoop(runtime::Shard& shard, runtime::DiskPool& disk_pool,
             std::function<void(const Error&)> sync_failed);

  // Has what the partition's log holds now synced, with the next round.
  void request_sync(Partition& partition);

  // The same, but not before the deadline unless something else asks for it (flush.ms).
  void request_sync_by(Partition& partition, int64_t deadline_ns);

  // Runs until stop(). Once, on the shard.
  runtime::Task<> run();
  // Returns when everything requested so far is synced and run() has ended.
  runtime::Task<> stop();

 private:
  runtime::Task<> sync_round();
  void request_what_is_due();

  runtime::Shard& shard_;
  runtime::DiskPool& disk_pool_;
  std::function<void(const Error&)> sync_failed_;
  std::vector<std::weak_ptr<Partition>> requested_;
  std::multimap<int64_t, std::weak_ptr<Partition>> by_deadline_;
  runtime::Notifier wakeup_;
  runtime::Notifier ended_;
  bool stopping_ = false;
  bool running_ = false;
};

}  // namespace millrace::replication
