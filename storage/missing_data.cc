#include "storage/missing_data.h"

namespace millrace::storage {
namespace {

// A lookup that goes on finds its next headers close behind.
constexpr size_t kAheadBytes = 64 << 10;

std::unexpected<Error> not_in_memory() {
  return fail(ErrorCode::kOperationNotAttempted, "that isn't in memory");
}

}  // namespace

Result<> MissingData::load() const {
  if (size_ > 0) return file_->load(position_, size_, kAheadBytes);
  if (index_ == nullptr) return {};
  // An index that can't answer makes the lookup begin at the segment's start: no reason to give up.
  if (by_ == By::kOffset) {
    (void)index_->floor_offset(key_, wanted_);
  } else {
    (void)index_->floor_timestamp(key_, wanted_);
  }
  return {};
}

std::unexpected<Error> MissingData::need_part(int64_t position, size_t size) {
  position_ = position;
  size_ = size;
  return not_in_memory();
}

std::unexpected<Error> MissingData::need_offset(const OffsetIndex& index, const SegmentKey& key,
                                                int64_t offset) {
  index_ = &index;
  key_ = key;
  by_ = By::kOffset;
  wanted_ = offset;
  return not_in_memory();
}

std::unexpected<Error> MissingData::need_timestamp(const OffsetIndex& index, const SegmentKey& key,
                                                   int64_t timestamp_ms) {
  need_offset(index, key, timestamp_ms);
  by_ = By::kTimestamp;
  return not_in_memory();
}

}  // namespace millrace::storage
