#include "broker/replication/commit_loop.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "broker/replication/partition.h"

namespace millrace::replication {
namespace {

struct SyncedUpTo {
  std::weak_ptr<Partition> partition;
  int64_t end_offset;
};

Result<> sync_all(const std::vector<std::shared_ptr<storage::File>>& files) {
  for (const auto& file : files) {
    if (auto synced = file->sync_data(); !synced) return synced;
  }
  return {};
}

}  // namespace

CommitLoop::CommitLoop(runtime::Shard& shard, runtime::DiskPool& disk_pool,
                       std::function<void(const Error&)> sync_failed)
    : shard_(shard), disk_pool_(disk_pool), sync_failed_(std::move(sync_failed)) {}

void CommitLoop::request_sync(Partition& partition) {
  if (partition.sync_requested()) return;
  partition.set_sync_requested(true);
  requested_.push_back(partition.weak_from_this());
  wakeup_.notify_one();
}

void CommitLoop::request_sync_by(Partition& partition, int64_t deadline_ns) {
  by_deadline_.emplace(deadline_ns, partition.weak_from_this());
  wakeup_.notify_one();
}

void CommitLoop::request_what_is_due() {
  const int64_t now_ns = shard_.clock().monotonic_ns();
  while (!by_deadline_.empty() && by_deadline_.begin()->first <= now_ns) {
    if (const auto partition = by_deadline_.begin()->second.lock()) partition->sync_due();
    by_deadline_.erase(by_deadline_.begin());
  }
}

runtime::Task<> CommitLoop::run() {
  running_ = true;
  while (!stopping_ || !requested_.empty()) {
    request_what_is_due();
    if (requested_.empty()) {
      co_await wakeup_.wait_until(by_deadline_.empty() ? runtime::kNever : by_deadline_.begin()->first);
    } else {
      co_await sync_round();
    }
  }
  running_ = false;
  ended_.notify_all();
}

runtime::Task<> CommitLoop::stop() {
  stopping_ = true;
  wakeup_.notify_all();
  while (running_) co_await ended_.wait();
}

runtime::Task<> CommitLoop::sync_round() {
  std::vector<std::shared_ptr<storage::File>> files;
  std::vector<SyncedUpTo> progress;
  progress.reserve(requested_.size());
  for (const auto& held : std::exchange(requested_, {})) {
    const auto partition = held.lock();
    if (!partition) continue;
    partition->set_sync_requested(false);
    if (partition->removed()) continue;
    auto dirty = partition->log().dirty_files();
    if (!dirty) {
      sync_failed_(dirty.error());
      partition->log().mark_failed(dirty.error());
      continue;
    }
    std::move(dirty->files.begin(), dirty->files.end(), std::back_inserter(files));
    progress.push_back({held, dirty->end_offset});
  }
  auto sync = [files = std::move(files)] { return sync_all(files); };
  const Result<> synced = co_await disk_pool_.run(std::move(sync));
  if (!synced) {
    sync_failed_(synced.error());
    for (const SyncedUpTo& failed : progress) {
      const auto partition = failed.partition.lock();
      if (partition && !partition->removed()) partition->log().mark_failed(synced.error());
    }
    co_return;
  }
  for (const SyncedUpTo& done : progress) {
    if (const auto partition = done.partition.lock()) partition->synced(done.end_offset);
  }
}

}  // namespace millrace::replication
