// Lets coroutines of one shard do something one after another, in the order in which they came, although each
// suspends in the middle.
#pragma once

#include <utility>

#include "broker/runtime/notifier.h"
#include "broker/runtime/task.h"

namespace millrace::metadata {

class TurnQueue {
 public:
  // Whose turn it is; gives the turn to the next one when destroyed. Must not outlive the queue.
  class Turn {
   public:
    explicit Turn(TurnQueue& queue) : queue_(&queue) {}
    Turn(Turn&& other) noexcept : queue_(std::exchange(other.queue_, nullptr)) {}
    Turn& operator=(Turn&&) = delete;
    ~Turn() { release(); }
    void release() {
      if (TurnQueue* queue = std::exchange(queue_, nullptr)) queue->next();
    }

   private:
    TurnQueue* queue_;
  };

  runtime::Task<Turn> take() {
    while (taken_) co_await waiting_.wait();
    taken_ = true;
    co_return Turn(*this);
  }

 private:
  void next() {
    taken_ = false;
    waiting_.notify_one();
  }

  bool taken_ = false;
  runtime::Notifier waiting_;
};

}  // namespace millrace::metadata
