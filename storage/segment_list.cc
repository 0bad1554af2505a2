#include "storage/segment_list.h"

#include <algorithm>

namespace millrace::storage {

int64_t SegmentList::size_bytes() const {
  int64_t sum = 0;
  for (const auto& segment : segments_) sum += segment->size();
  return sum;
}

void SegmentList::add(std::unique_ptr<Segment> segment) { segments_.push_back(std::move(segment)); }

std::unique_ptr<Segment> SegmentList::take_oldest() {
  auto segment = std::move(segments_.front());
  segments_.erase(segments_.begin());
  forget(segment.get());
  return segment;
}

std::unique_ptr<Segment> SegmentList::take_active() {
  auto segment = std::move(segments_.back());
  segments_.pop_back();
  forget(segment.get());
  // What is active now isn't to be closed any more.
  if (!segments_.empty()) forget(segments_.back().get());
  return segment;
}

void SegmentList::replace(size_t position, size_t count, std::unique_ptr<Segment> segment) {
  const auto first = segments_.begin() + static_cast<std::ptrdiff_t>(position);
  for (size_t i = 0; i < count; ++i) forget(segments_[position + i].get());
  *first = std::move(segment);
  segments_.erase(first + 1, first + static_cast<std::ptrdiff_t>(count));
}

size_t SegmentList::floor(int64_t offset) const {
  const auto above =
      std::upper_bound(segments_.begin(), segments_.end(), offset,
                       [](int64_t wanted, const auto& segment) { return wanted < segment->base_offset(); });
  return above == segments_.begin() ? 0 : static_cast<size_t>(above - segments_.begin()) - 1;
}

Result<std::shared_ptr<File>> SegmentList::file(size_t position, int64_t recovery_point,
                                                int64_t end_offset) const {
  const Segment* segment = segments_[position].get();
  if (position + 1 == segments_.size()) return segment->file(end_offset);
  forget(segment);
  recently_read_.push_back(segment);
  if (recently_read_.size() > kOpenInactive) {
    const Segment* oldest = recently_read_.front();
    recently_read_.erase(recently_read_.begin());
    if (oldest->next_offset() <= recovery_point) oldest->release_file();
  }
  return segment->file();
}

void SegmentList::release_synced(int64_t recovery_point) const {
  for (size_t i = 0; i + 1 < segments_.size(); ++i) {
    const Segment* segment = segments_[i].get();
    if (!segment->has_open_file() || segment->next_offset() > recovery_point) continue;
    if (std::find(recently_read_.begin(), recently_read_.end(), segment) == recently_read_.end())
      segment->release_file();
  }
}

void SegmentList::rest_unused(int64_t recovery_point) {
  for (const auto& segment : segments_) {
    if (segment->next_offset() <= recovery_point) segment->rest();
  }
  std::erase_if(recently_read_, [](const Segment* segment) { return !segment->has_open_file(); });
}

void SegmentList::close_synced(int64_t recovery_point) {
  for (const auto& segment : segments_) {
    if (segment->next_offset() <= recovery_point) segment->close();
  }
  std::erase_if(recently_read_, [](const Segment* segment) { return !segment->has_open_file(); });
}

void SegmentList::forget(const Segment* segment) const { std::erase(recently_read_, segment); }

}  // namespace millrace::storage
