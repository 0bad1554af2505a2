#include "storage/offset_chain.h"

#include <fmt/format.h>

namespace millrace::storage {

using protocol::BatchHeader;

namespace {

// Where a batch ends that begins at `base_offset`, which may be what somebody has called a file.
int64_t after(int64_t base_offset, int32_t last_offset_delta) {
  int64_t end = 0;
  const bool is_beyond = __builtin_add_overflow(base_offset, int64_t{last_offset_delta} + 1, &end);
  return is_beyond ? std::numeric_limits<int64_t>::max() : end;
}

}  // namespace

std::string OffsetChain::damage(const BatchHeader& header) const {
  if (header.base_offset < due_ || (is_exact_ && header.base_offset != due_)) {
    return fmt::format("a batch with base offset {} where {}{} was due", header.base_offset, due_,
                       is_exact_ ? "" : " or more");
  }
  if (header.last_offset_delta < 0) {
    return fmt::format("a batch with a last offset delta of {}", header.last_offset_delta);
  }
  // Without a sum that a damaged offset could make overflow.
  const int64_t limit = limit_.value_or(after(due_, kFurthest));
  if (header.base_offset < limit && header.last_offset_delta < limit - header.base_offset) return {};
  return fmt::format("a batch with base offset {} and a last offset delta of {} where all are below {}",
                     header.base_offset, header.last_offset_delta, limit);
}

bool OffsetChain::is_proven_by(const BatchHeader& header, const BatchHeader* next) const {
  if (!is_exact_ || header.last_offset_delta < 0) return false;
  const int64_t next_due = after(due_, header.last_offset_delta);
  return next != nullptr ? next->base_offset == next_due : end_ == next_due;
}

void OffsetChain::pass(const BatchHeader& header) {
  due_ = header.last_offset() + 1;
  is_exact_ = !may_have_holes_;
}

void OffsetChain::pass_as_due(const BatchHeader& header) { due_ = after(due_, header.last_offset_delta); }

}  // namespace millrace::storage
