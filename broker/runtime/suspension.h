// The building block of everything that waits on a shard: one coroutine suspended until somebody on the same
// shard wakes it, its deadline comes, or it is cancelled. Owned by the waiting coroutine's frame.
//
// Woken coroutines don't run inside wake(): they are queued and run from the shard's loop, so that a state
// change never runs foreign code half way through.
#pragma once

#include <boost/asio/cancellation_signal.hpp>
#include <boost/intrusive/list.hpp>
#include <boost/system/error_code.hpp>
#include <cstdint>
#include <optional>

#include "broker/runtime/clock.h"
#include "broker/runtime/task.h"
#include "broker/runtime/timer_queue.h"

namespace millrace::runtime {

class Shard;

class Suspension final : private Timer {
  using Hook = boost::intrusive::list_member_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;

 public:
  enum class Wake : uint8_t { kPending, kNotified, kTimedOut, kCancelled };

  // On the current shard.
  Suspension();
  ~Suspension() override;

  // Suspends until woken; until the shard's next turn if that happened already. May be awaited once. Returns
  // kNotified or kTimedOut; throws boost::system::system_error (operation_aborted) when the task was
  // cancelled.
  Task<Wake> wait(int64_t deadline_ns = kNever);

  // Wakes the coroutine; only the first call counts. From the owning shard's thread only.
  void wake(Wake wake = Wake::kNotified);
  bool pending() const { return wake_ == Wake::kPending; }

  // Whoever wakes it may link it into a list; it leaves the list when woken or destroyed.
  Hook queue_hook;

 private:
  friend class Shard;
  // Resumes the coroutine, as ResumeHandler does: with kNotified or kTimedOut, or with an error to be thrown.
  using Handler = asio::async_result<UseTask, void(boost::system::error_code, Wake)>::handler_type;
  void expired() override { wake(Wake::kTimedOut); }

  Shard& shard_;
  std::optional<Handler> handler_;
  asio::cancellation_slot slot_;
  Wake wake_ = Wake::kPending;
  Hook suspended_hook_;
};

using SuspensionQueue = boost::intrusive::list<
    Suspension,
    boost::intrusive::member_hook<Suspension, decltype(Suspension::queue_hook), &Suspension::queue_hook>,
    boost::intrusive::constant_time_size<false>>;

}  // namespace millrace::runtime
