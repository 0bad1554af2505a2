#include "storage/offset_chain.h"

#include <fmt/format.h>

namespace millrace::storage {

using protocol::BatchHeader;

std::string OffsetChain::damage(const BatchHeader& header) const {
  if (header.base_offset < due_ || (is_exact_ && header.base_offset != due_)) {
    return fmt::format("a batch with base offset {} where {}{} was due", header.base_offset, due_,
                       is_exact_ ? "" : " or more");
  }
  if (header.last_offset_delta < 0) {
    return fmt::format("a batch with a last offset delta of {}", header.last_offset_delta);
  }
  // Without a sum that a damaged offset could make overflow.
  const int64_t limit = limit_.value_or(due_ + kFurthest);
  if (header.base_offset < limit && header.last_offset_delta < limit - header.base_offset) return {};
  return fmt::format("a batch with base offset {} and a last offset delta of {} where all are below {}",
                     header.base_offset, header.last_offset_delta, limit);
}

bool OffsetChain::is_proven_by(const BatchHeader& header, const BatchHeader* next) const {
  if (!is_exact_ || header.last_offset_delta < 0) return false;
  const int64_t next_due = due_ + header.last_offset_delta + 1;
  return next != nullptr ? next->base_offset == next_due : end_ == next_due;
}

void OffsetChain::pass(const BatchHeader& header) {
  due_ = header.last_offset() + 1;
  is_exact_ = !may_have_holes_;
}

void OffsetChain::pass_as_due(const BatchHeader& header) { due_ += header.last_offset_delta + 1; }

}  // namespace millrace::storage
