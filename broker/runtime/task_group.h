// Long-lived coroutines with an owner: spawn, cancel, wait for the end.
#pragma once

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <list>
#include <memory>

#include "broker/runtime/notifier.h"
#include "broker/runtime/shard.h"

namespace millrace::runtime {

// Not thread safe: group and tasks belong to one shard.
class TaskGroup {
 public:
  explicit TaskGroup(Shard& shard) : state_(std::make_shared<State>(shard)) {}
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;
  // Cancels what still runs; it ends after the group is gone.
  ~TaskGroup() {
    if (!state_->shard.stopped()) cancel();
  }

  // Starts f() (f: () -> Task<>, kept alive as long as it runs) on the shard's next turn. An exception that
  // leaves it is logged, except that of the cancellation. After cancel() nothing is started.
  template <class F>
  void spawn(F f);

  // What the tasks wait for (sockets, timers, Suspension) throws system_error (operation_aborted), and so
  // does every later co_await in them. A call on another shard or on the disk runs to its end first.
  void cancel();
  // Returns when no task is left.
  Task<> wait();
  size_t size() const { return state_->signals.size(); }
  bool cancelled() const { return state_->cancelled; }

 private:
  struct State {
    explicit State(Shard& the_shard) : shard(the_shard) {}
    Shard& shard;
    std::list<asio::cancellation_signal> signals;  // one per running task
    Notifier ended;
    bool cancelled = false;
  };
  std::shared_ptr<State> state_;
};

template <class F>
void TaskGroup::spawn(F f) {
  if (state_->cancelled) return;
  const auto signal = state_->signals.emplace(state_->signals.end());
  auto completion = [state = state_, signal](std::exception_ptr failure) {
    // Asio may still look at the signal until the coroutine's frame is gone.
    state->shard.post([state, signal] {
      state->signals.erase(signal);
      if (state->signals.empty()) state->ended.notify_all();
    });
    if (failure) Shard::report_failure(failure);
  };
  asio::co_spawn(state_->shard.context(), std::move(f),
                 asio::bind_cancellation_slot(signal->slot(), std::move(completion)));
}

inline void TaskGroup::cancel() {
  state_->cancelled = true;
  const std::shared_ptr<State> state = state_;  // a task that ends may destroy the group
  for (auto signal = state->signals.begin(); signal != state->signals.end();) {
    // Emitting may end the task at once, and with it this element.
    (signal++)->emit(asio::cancellation_type::terminal);
  }
}

inline Task<> TaskGroup::wait() {
  const std::shared_ptr<State> state = state_;
  while (!state->signals.empty()) co_await state->ended.wait();
}

}  // namespace millrace::runtime
