#include "broker/runtime/memory_budget.h"

namespace millrace::runtime {

void MemoryLease::release() { shrink_to(0); }

void MemoryLease::shrink_to(int64_t size) {
  if (budget_ != nullptr && size < size_) budget_->give_back(*this, size_ - size);
}

bool MemoryBudget::grant(MemoryLease& lease, int64_t amount) {
  if (amount > capacity_ - used_ && !lease.overdraws_) {
    const bool may_overdraw = lease.size_ > 0 || amount > capacity_;
    if (!may_overdraw || overdrawn_) return false;
    overdrawn_ = lease.overdraws_ = true;
  }
  lease.budget_ = this;
  lease.size_ += amount;
  used_ += amount;
  return true;
}

bool MemoryBudget::try_acquire(MemoryLease& lease, int64_t amount) {
  // Nobody overtakes those in line before him, except the one that everybody waits for.
  const bool in_line = !growing_.empty() || (lease.size_ == 0 && !starting_.empty());
  if (in_line && !lease.overdraws_) return false;
  return grant(lease, amount);
}

Task<> MemoryBudget::acquire(MemoryLease& lease, int64_t amount) {
  if (try_acquire(lease, amount)) co_return;
  Waiter waiter;
  waiter.lease = &lease;
  waiter.amount = amount;
  (lease.size_ > 0 ? growing_ : starting_).push_back(waiter);
  try {
    co_await waiter.suspension.wait();
  } catch (...) {
    // Cancelled: those behind may fit where this one didn't.
    if (waiter.is_linked()) waiter.unlink();
    serve_waiters();
    throw;
  }
}

void MemoryBudget::give_back(MemoryLease& lease, int64_t amount) {
  lease.size_ -= amount;
  used_ -= amount;
  if (lease.size_ == 0) {
    if (lease.overdraws_) overdrawn_ = lease.overdraws_ = false;
    lease.budget_ = nullptr;
  }
  serve_waiters();
}

void MemoryBudget::serve_waiters() {
  while (has_waiters()) {
    Line& line = growing_.empty() ? starting_ : growing_;
    Waiter& first = line.front();
    if (!grant(*first.lease, first.amount)) return;
    line.pop_front();
    first.suspension.wake();
  }
}

}  // namespace millrace::runtime
