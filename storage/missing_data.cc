#include "storage/missing_data.h"

#include <algorithm>
#include <utility>

#include "storage/batch_cursor.h"

namespace millrace::storage {
namespace {

// A lookup that goes on finds its next headers close behind.
constexpr size_t kAheadBytes = 64 << 10;

std::unexpected<Error> not_in_memory() {
  return fail(ErrorCode::kOperationNotAttempted, "that isn't in memory");
}

}  // namespace

Result<> MissingData::load() {
  if (is_searching_) return run_search();
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

std::unexpected<Error> MissingData::need_search(TimestampSearch search) {
  search_ = std::move(search);
  is_searching_ = true;
  return not_in_memory();
}

int64_t MissingData::searched_to(const TimestampSearch& search) const {
  const bool is_same = search_ && search_->timestamp_ms == search.timestamp_ms &&
                       search_->from_offset == search.from_offset && search_->path == search.path &&
                       search_->changes == search.changes;
  return is_same ? std::max(search_->position, search.position) : search.position;
}

void MissingData::look_again() {
  auto search = std::exchange(search_, std::nullopt);
  *this = {};
  search_ = std::move(search);
}

Result<> MissingData::run_search() {
  const auto file = file_;
  MissingData part;
  part.look_in(file);
  BatchCursor cursor(*file, search_->position, search_->end, &part);
  while (true) {
    search_->position = cursor.position();
    auto batch = cursor.next();
    if (!batch && part) {
      // What isn't there even then is waited for.
      if (auto loaded = part.load(); !loaded) return loaded;
      part.look_again();
      part.look_in(file);
      BatchCursor waiting(*file, search_->position, search_->end);
      batch = waiting.next();
      cursor = BatchCursor(*file, waiting.position(), search_->end, &part);
    }
    // What isn't sound says so to the next look, which begins there.
    if (!batch || !*batch || may_have((*batch)->header, search_->timestamp_ms, search_->from_offset))
      return {};
  }
}

}  // namespace millrace::storage
