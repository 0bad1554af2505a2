#include "broker/replication/fetch_waiter.h"

#include <algorithm>
#include <utility>

namespace millrace::replication {

void FetchWaiter::signal() {
  if (signalled_.exchange(true, std::memory_order_acq_rel)) return;
  if (runtime::Shard::current() == &home_) {
    notifier_.notify_all();
  } else {
    home_.post([self = shared_from_this()] { self->notifier_.notify_all(); });
  }
}

runtime::Task<bool> FetchWaiter::wait_until(int64_t deadline_ns) {
  // The loop: a wake-up posted for an earlier round may arrive late, in this one.
  bool in_time = true;
  while (in_time && !signalled_.load(std::memory_order_acquire))
    in_time = co_await notifier_.wait_until(deadline_ns);
  co_return signalled_.load(std::memory_order_acquire);
}

void FetchWatch::attach(const std::shared_ptr<FetchWaiter>& waiter) {
  const std::lock_guard lock(mutex_);
  waiter_ = waiter;
  if (!moved_.empty()) waiter->signal();
}

void FetchWatch::signal(uint32_t number) {
  std::shared_ptr<FetchWaiter> waiter;
  {
    const std::lock_guard lock(mutex_);
    moved_.push_back(number);
    waiter = waiter_.lock();
  }
  if (waiter) waiter->signal();
}

std::vector<uint32_t> FetchWatch::take_moved() {
  const std::lock_guard lock(mutex_);
  return std::exchange(moved_, {});
}

void FetchWaiterList::add(const std::shared_ptr<FetchWatch>& watch, uint32_t number) {
  if (waiters_.size() >= sweep_at_) {
    std::erase_if(waiters_, [](const auto& entry) { return entry.second.watch.expired(); });
    sweep_at_ = std::max(kFirstSweep, waiters_.size() * 2);
  }
  waiters_.insert_or_assign(watch.get(), Waiting{watch, number});
}

void FetchWaiterList::signal_all() {
  for (const auto& [address, waiting] : waiters_) {
    if (const auto watch = waiting.watch.lock()) watch->signal(waiting.number);
  }
  waiters_.clear();
}

}  // namespace millrace::replication
