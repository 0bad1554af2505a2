// Wakes coroutines of one shard that wait for something to change: a fetch for new records, a produce for
// the sync. Many may wait; each waiter costs a list node and a heap entry while it waits.
#pragma once

#include <cstdint>

#include "broker/runtime/suspension.h"

namespace millrace::runtime {

// Not thread safe: notifier and waiters belong to one shard.
class Notifier {
 public:
  Notifier() = default;
  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;
  // Waiters left are woken.
  ~Notifier() { notify_all(); }

  // Waits until notify_all() (true) or the deadline, in ns of the shard's monotonic clock (false). Check the
  // condition again afterwards. A deadline in the past returns false on the shard's next turn.
  // Throws system_error (operation_aborted) when the waiting task is cancelled.
  Task<bool> wait_until(int64_t deadline_ns) {
    Suspension suspension;
    waiters_.push_back(suspension);
    co_return co_await suspension.wait(deadline_ns) == Suspension::Wake::kNotified;
  }
  Task<> wait() {
    Suspension suspension;
    waiters_.push_back(suspension);
    co_await suspension.wait();
  }

  // Wakes all who wait now; they run after the caller, from the shard's loop.
  void notify_all() {
    while (!waiters_.empty()) waiters_.front().wake();
  }
  // Wakes the one that has waited longest.
  void notify_one() {
    if (!waiters_.empty()) waiters_.front().wake();
  }
  bool has_waiters() const { return !waiters_.empty(); }

 private:
  SuspensionQueue waiters_;
};

}  // namespace millrace::runtime
