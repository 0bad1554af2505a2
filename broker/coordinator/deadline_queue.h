// Deadlines as data: who wants to be told when. Nothing here knows the time; whoever drives the owner asks
// for the next deadline and says which ones have passed.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

namespace millrace::coordinator {

// What a deadline is about: a kind and the thing it belongs to, both the owner's own notions.
struct DeadlineTarget {
  enum class Kind : uint8_t {
    kSession,
    kPendingMember,
    kJoin,
    kSync,
    kOffsetExpiry,
    kSweep,
    // Of members of consumer groups.
    kConsumerSession,
    kConsumerRevocation,
    kConsumerJoin,
    kConsumerSync,
  };
  Kind kind = Kind::kSession;
  void* group = nullptr;
  void* member = nullptr;
};

class Deadline;

// Deadlines in order; equal ones in the order in which they were armed.
class DeadlineQueue {
 public:
  DeadlineQueue() = default;
  DeadlineQueue(const DeadlineQueue&) = delete;
  DeadlineQueue& operator=(const DeadlineQueue&) = delete;

  // Milliseconds; nothing while no timer is armed.
  std::optional<int64_t> next_deadline() const {
    if (entries_.empty()) return std::nullopt;
    return entries_.begin()->first;
  }

  // Disarms the earliest timer whose deadline is at or before `now_ms` and returns its target; nothing if
  // there is none.
  std::optional<DeadlineTarget> pop_due(int64_t now_ms);

  size_t size() const { return entries_.size(); }

 private:
  friend class Deadline;
  struct Entry {
    DeadlineTarget target;
    Deadline* timer;
  };
  using Entries = std::multimap<int64_t, Entry>;
  Entries entries_;
};

// One deadline. Disarmed when destroyed; the queue outlives it. Moving the deadline allocates nothing.
class Deadline {
 public:
  Deadline() = default;
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  ~Deadline() { cancel(); }

  // Replaces the deadline that was there.
  void arm(DeadlineQueue& queue, int64_t deadline_ms, DeadlineTarget target) {
    if (queue_ != nullptr) {
      auto node = queue_->entries_.extract(position_);
      node.key() = deadline_ms;
      node.mapped().target = target;
      position_ = queue_->entries_.insert(std::move(node));
      return;
    }
    queue_ = &queue;
    position_ = queue.entries_.emplace(deadline_ms, DeadlineQueue::Entry{target, this});
  }
  void cancel() {
    if (queue_ == nullptr) return;
    queue_->entries_.erase(position_);
    queue_ = nullptr;
  }
  bool armed() const { return queue_ != nullptr; }

 private:
  friend class DeadlineQueue;
  DeadlineQueue* queue_ = nullptr;
  DeadlineQueue::Entries::iterator position_;
};

inline std::optional<DeadlineTarget> DeadlineQueue::pop_due(int64_t now_ms) {
  if (entries_.empty() || entries_.begin()->first > now_ms) return std::nullopt;
  const DeadlineTarget target = entries_.begin()->second.target;
  entries_.begin()->second.timer->cancel();
  return target;
}

}  // namespace millrace::coordinator
