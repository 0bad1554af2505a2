#include "broker/runtime/timer_queue.h"

namespace millrace::runtime {

Timer::~Timer() {
  if (queue_ != nullptr) queue_->disarm(*this);
}

TimerQueue::~TimerQueue() {
  for (Timer* timer : heap_) timer->queue_ = nullptr;
}

void TimerQueue::place(size_t position, Timer* timer) {
  heap_[position] = timer;
  timer->position_ = position;
}

void TimerQueue::sift_up(size_t position) {
  Timer* const timer = heap_[position];
  while (position > 0) {
    const size_t parent = (position - 1) / 2;
    if (heap_[parent]->deadline_ns_ <= timer->deadline_ns_) break;
    place(position, heap_[parent]);
    position = parent;
  }
  place(position, timer);
}

void TimerQueue::sift_down(size_t position) {
  Timer* const timer = heap_[position];
  for (;;) {
    size_t child = 2 * position + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && heap_[child + 1]->deadline_ns_ < heap_[child]->deadline_ns_) ++child;
    if (timer->deadline_ns_ <= heap_[child]->deadline_ns_) break;
    place(position, heap_[child]);
    position = child;
  }
  place(position, timer);
}

void TimerQueue::remove(Timer& timer) {
  const size_t position = timer.position_;
  Timer* const last = heap_.back();
  heap_.pop_back();
  if (last != &timer) {
    place(position, last);
    sift_up(position);
    sift_down(last->position_);
  }
  timer.queue_ = nullptr;
}

void TimerQueue::arm(Timer& timer, int64_t deadline_ns) {
  disarm(timer);
  if (deadline_ns == kNever) return;
  const int64_t earliest_ns = next_deadline_ns();
  timer.queue_ = this;
  timer.deadline_ns_ = deadline_ns;
  heap_.push_back(&timer);
  sift_up(heap_.size() - 1);
  if (!firing_ && deadline_ns < earliest_ns) set_alarm_(deadline_ns);
}

void TimerQueue::disarm(Timer& timer) {
  if (timer.queue_ == nullptr) return;
  if (!timer.due_) return remove(timer);
  due_[timer.position_] = nullptr;
  timer.due_ = false;
  timer.queue_ = nullptr;
}

void TimerQueue::fire(int64_t now_ns) {
  firing_ = true;
  while (!heap_.empty() && heap_.front()->deadline_ns_ <= now_ns) {
    Timer& timer = *heap_.front();
    remove(timer);
    timer.queue_ = this;
    timer.due_ = true;
    timer.position_ = due_.size();
    due_.push_back(&timer);
  }
  for (size_t i = 0; i < due_.size(); ++i) {
    Timer* const timer = due_[i];
    if (timer == nullptr) continue;
    timer->due_ = false;
    timer->queue_ = nullptr;
    timer->expired();
  }
  due_.clear();
  firing_ = false;
  if (!heap_.empty()) set_alarm_(next_deadline_ns());
}

}  // namespace millrace::runtime
