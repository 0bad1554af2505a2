// Bounded things that coroutines of one shard share: bytes for frames, places in a queue. Who asks for more
// than is left waits in line; the connection that waits doesn't read, which is how back pressure reaches the
// client.
#pragma once

#include <cstdint>
#include <utility>

#include "broker/runtime/suspension.h"

namespace millrace::runtime {

class MemoryBudget;

// Units held from a budget; given back when destroyed. Stays on the budget's shard.
class MemoryLease {
 public:
  MemoryLease() = default;
  MemoryLease(MemoryLease&& other) noexcept { swap(other); }
  MemoryLease& operator=(MemoryLease&& other) noexcept {
    MemoryLease(std::move(other)).swap(*this);
    return *this;
  }
  ~MemoryLease() { release(); }

  int64_t size() const { return size_; }
  void release();
  // Gives back what is above `size`.
  void shrink_to(int64_t size);

 private:
  friend class MemoryBudget;
  void swap(MemoryLease& other) noexcept {
    std::swap(budget_, other.budget_);
    std::swap(size_, other.size_);
    std::swap(bulk_size_, other.bulk_size_);
    std::swap(overdraws_, other.overdraws_);
  }

  MemoryBudget* budget_ = nullptr;
  int64_t size_ = 0;
  int64_t bulk_size_ = 0;  // of it, what was asked for as bulk
  bool overdraws_ = false;
};

// Not thread safe: one per shard. Must outlive its leases.
class MemoryBudget {
 public:
  // What is asked for as bulk never takes more than `bulk_capacity` of it: the rest is there for the others.
  enum class Use : uint8_t { kAny, kBulk };

  explicit MemoryBudget(int64_t capacity) : MemoryBudget(capacity, capacity) {}
  MemoryBudget(int64_t capacity, int64_t bulk_capacity)
      : capacity_(capacity), bulk_capacity_(bulk_capacity) {}
  MemoryBudget(const MemoryBudget&) = delete;
  MemoryBudget& operator=(const MemoryBudget&) = delete;

  // Adds `amount` to the lease, which is empty or of this budget; waits while less is left: first come first
  // served among those who want bulk, those who hold something already, and those who begin. The lease must
  // outlive the wait.
  //
  // Holders of parts that all wait for more would wait for ever. So the first in line, if it holds something
  // already (or wants bulk, or more than there is at all), may overdraw, one lease at a time, and that one
  // may overdraw both capacities and never waits again: what is used stays under each capacity plus the
  // largest single lease, and somebody always gets on.
  Task<> acquire(MemoryLease& lease, int64_t amount, Use use = Use::kAny);
  // The same without waiting: false, and nothing added, when acquire would wait.
  bool try_acquire(MemoryLease& lease, int64_t amount, Use use = Use::kAny);

  int64_t capacity() const { return capacity_; }
  int64_t used() const { return used_; }

 private:
  friend class MemoryLease;
  struct Waiter
      : boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
    Suspension suspension;
    MemoryLease* lease;
    int64_t amount;
    Use use;
  };
  using Line = boost::intrusive::list<Waiter, boost::intrusive::constant_time_size<false>>;

  bool must_queue(const MemoryLease& lease, Use use) const;
  bool fits(int64_t amount, Use use) const;
  bool grant(MemoryLease& lease, int64_t amount, Use use);
  void give_back(MemoryLease& lease, int64_t amount);
  void serve_waiters();
  bool serve(Line& line);
  bool bulk_waits_for_rest() const;

  const int64_t capacity_;
  const int64_t bulk_capacity_;
  int64_t used_ = 0;
  int64_t bulk_used_ = 0;
  bool overdrawn_ = false;
  // While nobody overdraws, the first two are empty.
  Line bulk_;      // want bulk
  Line growing_;   // hold something and want more
  Line starting_;  // hold nothing yet
};

}  // namespace millrace::runtime
