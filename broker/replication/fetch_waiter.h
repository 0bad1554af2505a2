// A fetch that found too little and waits for any of its partitions to move, on whichever shards they are.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

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

// Which partitions of a fetch have moved since they were read, by numbers that the fetch has given them. A
// session's watch stays with the partitions from one fetch to the next, so that only what moved is read
// again. Any thread.
class FetchWatch {
 public:
  // Has the waiter (in place of an earlier one) signalled when something moves, at once if something has.
  void attach(const std::shared_ptr<FetchWaiter>& waiter);
  void signal(uint32_t number);
  // What moved since the last call; a number may come twice.
  std::vector<uint32_t> take_moved();

 private:
  std::mutex mutex_;
  std::weak_ptr<FetchWaiter> waiter_;
  std::vector<uint32_t> moved_;
};

// The fetches that wait for one partition, and its number in each. They are held weakly: a fetch that has
// been answered just vanishes.
class FetchWaiterList {
 public:
  // One that is here already is not added again.
  void add(const std::shared_ptr<FetchWatch>& watch, uint32_t number);
  // Each is told once, and forgotten.
  void signal_all();
  size_t size() const { return waiters_.size(); }

 private:
  static constexpr size_t kFirstSweep = 64;
  // By address, which may be reused once a waiter has vanished.
  struct Waiting {
    std::weak_ptr<FetchWatch> watch;
    uint32_t number;
  };
  std::unordered_map<const FetchWatch*, Waiting> waiters_;
  size_t sweep_at_ = kFirstSweep;
};

}  // namespace millrace::replication
