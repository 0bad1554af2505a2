// A shard: one thread, one io_context, and everything that lives on it. A partition, a connection, a waiter
// belong to one shard for life and are touched only by its thread, so nothing about them needs a lock.
// One primitive crosses shards: `co_await shard.call(f)`.
#pragma once

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <exception>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>

#include "broker/runtime/clock.h"
#include "broker/runtime/outcome.h"
#include "broker/runtime/random.h"
#include "broker/runtime/suspension.h"
#include "broker/runtime/task.h"
#include "broker/runtime/timer_queue.h"

namespace millrace::runtime {

// Thrown by call() when the shard that should have done the work has stopped.
struct ShardStopped : std::runtime_error {
  ShardStopped() : std::runtime_error("the shard has stopped") {}
};

class Shard {
 public:
  using Id = uint32_t;

  Shard(Id id, const Clock& clock, uint64_t random_seed);
  ~Shard();
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  // The shard whose thread this is; null on other threads.
  static Shard* current() { return current_; }
  bool is_current() const { return current_ == this; }

  Id id() const { return id_; }
  asio::io_context& context() { return context_; }
  Executor executor() { return context_.get_executor(); }
  const Clock& clock() const { return clock_; }
  // These three from the shard's own thread only.
  Random& random() { return random_; }
  TimerQueue& timers() { return timers_; }
  Task<> sleep_ms(int64_t delay_ms);

  // Runs f() on this shard, later. From any thread. After the shard has stopped f is destroyed uncalled.
  template <class F>
  void post(F f) {
    asio::post(context_, std::move(f));
  }

  // Starts the coroutine f() (f: () -> Task<>, kept alive as long as it runs) on this shard, detached. From
  // any thread. An exception that leaves it is logged; cancel and wait for tasks with a TaskGroup.
  template <class F>
  void spawn(F f) {
    asio::co_spawn(context_, std::move(f), [](std::exception_ptr failure) {
      if (failure) report_failure(failure);
    });
  }

  // Runs f on this shard and returns its result to the calling coroutine, on the caller's shard. f is
  // () -> R or () -> Task<R>; on this shard already it runs inline, at once. Exceptions propagate, results
  // are moved, f is destroyed on this shard. Throws ShardStopped when this shard has stopped. Must be awaited
  // on a shard. Name a capturing lambda, then await it (see task.h):
  //   auto append = [&] { return log.append(...); };
  //   auto result = co_await shard.call(append);
  template <class F>
  Task<CallResult<F>> call(F f);

  // Runs f (as for call) on this shard and blocks the calling thread, which must not be a shard's, until it
  // is done. For start-up, shutdown and tests.
  template <class F>
  CallResult<F> run(F f);

  // Logs the exception that ended a detached task; a cancellation is no failure.
  static void report_failure(std::exception_ptr failure);

  // Runs the loop on this thread until stop(). Called once per shard, by ShardGroup. SIGPIPE stays
  // blocked on this thread: sendfile has no flag against it.
  void run_loop();
  // Makes run_loop() return soon and call() refuse. From any thread.
  void stop();
  // Destroys every coroutine that is still suspended here; true when there was anything new to destroy. After
  // run_loop() has returned, from the thread that owns the shard. A coroutine destroyed on one shard may let
  // go of one that waited on another, so shards are drained in turn until none has anything left.
  bool drain();
  bool stopped() const { return stopped_.load(std::memory_order_acquire); }

  // Makes this the current shard of the calling thread for a scope: for run_loop, drain and simulation.
  class Scope {
   public:
    explicit Scope(Shard& shard) : previous_(std::exchange(current_, &shard)) {}
    ~Scope() { current_ = previous_; }
    Scope(const Scope&) = delete;

   private:
    Shard* previous_;
  };

 private:
  friend class Suspension;
  template <class F, class R>
  friend class RemoteCall;

  // The io_context, with its shutdown (destroy all pending operations) made callable before its destructor:
  // the operations of one shard may refer to another.
  struct Context : asio::io_context {
    using asio::io_context::io_context;
    using asio::io_context::shutdown;
  };
  using SuspendedList =
      boost::intrusive::list<Suspension,
                             boost::intrusive::member_hook<Suspension, decltype(Suspension::suspended_hook_),
                                                           &Suspension::suspended_hook_>,
                             boost::intrusive::constant_time_size<false>>;

  void make_ready(Suspension& suspension);
  void resume_ready();
  void set_alarm(int64_t deadline_ns);
  // Gives a coroutine of this shard back to its loop. From any thread.
  void resume(ResumeHandler handler);

  static inline thread_local Shard* current_ = nullptr;

  const Id id_;
  const Clock& clock_;
  Context context_;
  std::optional<asio::executor_work_guard<Executor>> work_;
  asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>,
                             Executor>
      alarm_;
  Random random_;
  TimerQueue timers_;
  SuspendedList suspended_;
  SuspensionQueue ready_;
  bool ready_posted_ = false;
  std::atomic<bool> stopped_ = false;
  bool drained_ = false;
  bool left_over_ = false;  // a coroutine was given back after the last drain
};

// One call on its way to another shard and back. Wherever it is destroyed, the caller gets an answer: its
// result, or ShardStopped.
template <class F, class R>
class RemoteCall {
 public:
  RemoteCall(Shard& origin, F f, Outcome<R>& outcome, ResumeHandler handler)
      : origin_(&origin), f_(std::move(f)), outcome_(&outcome), handler_(std::move(handler)) {}
  RemoteCall(RemoteCall&& other) noexcept
      : origin_(other.origin_),
        f_(std::move(other.f_)),
        outcome_(other.outcome_),
        handler_(std::exchange(other.handler_, std::nullopt)) {}
  ~RemoteCall() {
    if (handler_) finish_with(std::make_exception_ptr(ShardStopped()));
  }

  // On the destination.
  void operator()() {
    if constexpr (kReturnsTask<F>) {
      asio::co_spawn(Shard::current()->context(), await(std::move(*this)), asio::detached);
    } else {
      outcome_->set_result_of(*f_);
      finish();
    }
  }

 private:
  static Task<> await(RemoteCall self) {
    try {
      if constexpr (std::is_void_v<R>) {
        co_await (*self.f_)();
        self.outcome_->set();
      } else {
        self.outcome_->set(co_await (*self.f_)());
      }
    } catch (...) {
      self.outcome_->set_exception(std::current_exception());
    }
    self.finish();
  }

  void finish() {
    f_.reset();
    origin_->resume(std::move(*std::exchange(handler_, std::nullopt)));
  }
  void finish_with(std::exception_ptr failure) {
    outcome_->set_exception(std::move(failure));
    finish();
  }

  Shard* origin_;
  std::optional<F> f_;
  Outcome<R>* outcome_;  // in the caller's frame, which lives as long as the handler
  std::optional<ResumeHandler> handler_;
};

template <class F>
Task<CallResult<F>> Shard::call(F f) {
  using R = CallResult<F>;
  if (is_current()) {
    if constexpr (kReturnsTask<F>) {
      co_return co_await f();
    } else {
      co_return f();
    }
  }
  if (stopped()) throw ShardStopped();
  Outcome<R> outcome;
  auto send = [this, &f, &outcome](ResumeHandler handler) {
    post(RemoteCall<F, R>(*current(), std::move(f), outcome, std::move(handler)));
  };
  co_await asio::async_initiate<const UseTask, void()>(send, kUseTask);
  co_return outcome.take();
}

template <class F>
CallResult<F> Shard::run(F f) {
  using R = CallResult<F>;
  if (stopped()) throw ShardStopped();
  std::promise<R> promise;
  std::future<R> future = promise.get_future();
  auto body = [f = std::move(f), promise = std::move(promise)]() mutable -> Task<> {
    try {
      if constexpr (std::is_void_v<R>) {
        if constexpr (kReturnsTask<F>) {
          co_await f();
        } else {
          f();
        }
        promise.set_value();
      } else if constexpr (kReturnsTask<F>) {
        promise.set_value(co_await f());
      } else {
        promise.set_value(f());
      }
    } catch (...) {
      promise.set_exception(std::current_exception());
    }
    co_return;
  };
  spawn(std::move(body));
  return future.get();
}

}  // namespace millrace::runtime
