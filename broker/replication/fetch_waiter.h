// A fetch that found too little and waits for any of its partitions to move, on whichever shards they are.
#pragma once

#include <atomic>
#include <memory>
#include <unordered_map>

#include "broker/runtime/notifier.h"
#include "broker/runtime/shard.h"

namespace millrace::replication {

// Made and awaited on one shard (its home); signalled from any.
class FetchWaiter : public std::enable_shared_from_this<FetchWaiter> {
 public:
  explicit FetchWaiter(runtime::Shard& home) : home_(home) {}

  // Wakes the fetch, once; later signals until rearm() are free. Any thread.
  void signal();

  // To be called before partitions are read again: what moves from then on is signalled anew.
  void rearm() { signalled_.store(false, std::memory_order_release); }

  // Home only: true when signalled, false when the deadline passed first.
  runtime::Task<bool> wait_until(int64_t deadline_ns);

 private:
  runtime::Shard& home_;
  runtime::Notifier notifier_;
  std::atomic<bool> signalled_ = false;
};

// The fetches that wait for one partition. They are held weakly: a fetch that has been answered just
// vanishes.
class FetchWaiterList {
 public:
  // One that is here already is not added again.
  void add(const std::shared_ptr<FetchWaiter>& waiter);
  void signal_all();
  size_t size() const { return waiters_.size(); }

 private:
  static constexpr size_t kFirstSweep = 64;
  // By address, which may be reused once a waiter has vanished.
  std::unordered_map<const FetchWaiter*, std::weak_ptr<FetchWaiter>> waiters_;
  size_t sweep_at_ = kFirstSweep;
};

}  // namespace millrace::replication
