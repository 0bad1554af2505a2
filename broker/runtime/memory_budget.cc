#include "broker/runtime/memory_budget.h"

#include <algorithm>

namespace millrace::runtime {

void MemoryLease::release() { shrink_to(0); }

void MemoryLease::shrink_to(int64_t size) {
  if (budget_ != nullptr && size < size_) budget_->give_back(*this, size_ - size);
}

bool MemoryBudget::fits(int64_t amount, Use use) const {
  return amount <= capacity_ - used_ && (use == Use::kAny || amount <= bulk_capacity_ - bulk_used_);
}

bool MemoryBudget::grant(MemoryLease& lease, int64_t amount, Use use) {
  if (!fits(amount, use) && !lease.overdraws_) {
    const bool may_overdraw = use == Use::kBulk || lease.size_ > 0 || amount > capacity_;
    if (!may_overdraw || overdrawn_) return false;
    overdrawn_ = lease.overdraws_ = true;
  }
  lease.budget_ = this;
  lease.size_ += amount;
  used_ += amount;
  if (use == Use::kBulk) {
    lease.bulk_size_ += amount;
    bulk_used_ += amount;
  }
  return true;
}

// Whether the first who wants bulk has enough of its own capacity and waits for what the others use.
bool MemoryBudget::bulk_waits_for_rest() const {
  return !bulk_.empty() && bulk_.front().amount <= bulk_capacity_ - bulk_used_;
}

// Nobody overtakes those in line before him, except the one that everybody waits for.
bool MemoryBudget::must_queue(const MemoryLease& lease, Use use) const {
  if (lease.overdraws_) return false;
  if (use == Use::kBulk) return !bulk_.empty();
  if (!growing_.empty()) return true;
  return lease.size_ == 0 && (!starting_.empty() || bulk_waits_for_rest());
}

bool MemoryBudget::try_acquire(MemoryLease& lease, int64_t amount, Use use) {
  return !must_queue(lease, use) && grant(lease, amount, use);
}

Task<> MemoryBudget::acquire(MemoryLease& lease, int64_t amount, Use use) {
  if (try_acquire(lease, amount, use)) co_return;
  Waiter waiter;
  waiter.lease = &lease;
  waiter.amount = amount;
  waiter.use = use;
  Line& others = lease.size_ > 0 ? growing_ : starting_;
  (use == Use::kBulk ? bulk_ : others).push_back(waiter);
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
  const int64_t bulk_left = std::min(lease.bulk_size_, lease.size_);
  bulk_used_ -= lease.bulk_size_ - bulk_left;
  lease.bulk_size_ = bulk_left;
  if (lease.size_ == 0) {
    if (lease.overdraws_) overdrawn_ = lease.overdraws_ = false;
    lease.budget_ = nullptr;
  }
  serve_waiters();
}

// Bulk comes first: it may overdraw whatever it lacks, so that those after it can't keep it waiting for ever.
void MemoryBudget::serve_waiters() {
  serve(bulk_);
  if (serve(growing_) && !bulk_waits_for_rest()) serve(starting_);
}

// False when somebody in the line still waits.
bool MemoryBudget::serve(Line& line) {
  while (!line.empty()) {
    Waiter& first = line.front();
    if (!grant(*first.lease, first.amount, first.use)) return false;
    line.pop_front();
    first.suspension.wake();
  }
  return true;
}

}  // namespace millrace::runtime
