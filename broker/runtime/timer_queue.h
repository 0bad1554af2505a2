// A shard's timers: a heap of deadlines over one alarm. The alarm is the seam for simulated time: the real
// one is an Asio timer, a simulator's does nothing and calls fire() when it has moved the clock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "broker/runtime/clock.h"

namespace millrace::runtime {

class TimerQueue;

// Something that wants to be told when its deadline has come. Unarms itself when destroyed.
class Timer {
 public:
  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  bool armed() const { return queue_ != nullptr; }
  int64_t deadline_ns() const { return deadline_ns_; }

 protected:
  virtual ~Timer();
  // Called by fire(), no longer armed; may arm itself again and may destroy itself.
  virtual void expired() = 0;

 private:
  friend class TimerQueue;
  TimerQueue* queue_ = nullptr;
  size_t position_ = 0;  // in the heap, or in due_ while being fired
  bool due_ = false;
  int64_t deadline_ns_ = 0;
};

// Not thread safe: one per shard.
class TimerQueue {
 public:
  // `set_alarm` is called with the earliest deadline whenever that moves forward in the queue (kNever never).
  // It must bring about a fire() at or after that time.
  explicit TimerQueue(std::function<void(int64_t deadline_ns)> set_alarm)
      : set_alarm_(std::move(set_alarm)) {}
  ~TimerQueue();

  // Arms the timer, or moves it if it is armed already. kNever disarms.
  void arm(Timer& timer, int64_t deadline_ns);
  void disarm(Timer& timer);
  // Calls expired() on every timer whose deadline is not after now_ns, in order of deadline; then sets the
  // alarm for the next. Timers armed meanwhile fire in the next round.
  void fire(int64_t now_ns);
  // The earliest deadline, kNever when there is none.
  int64_t next_deadline_ns() const { return heap_.empty() ? kNever : heap_.front()->deadline_ns_; }
  size_t size() const { return heap_.size(); }

 private:
  void place(size_t position, Timer* timer);
  void sift_up(size_t position);
  void sift_down(size_t position);
  void remove(Timer& timer);

  std::function<void(int64_t)> set_alarm_;
  std::vector<Timer*> heap_;
  std::vector<Timer*> due_;  // being fired; a timer destroyed meanwhile is nulled out
  bool firing_ = false;
};

}  // namespace millrace::runtime
