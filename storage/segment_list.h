// The segments of a log, in order of their base offsets; the last is the active one. Keeps few of the others'
// files open: the last read ones, and those that still need a sync.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "storage/segment.h"

namespace millrace::storage {

class SegmentList {
 public:
  // Files of inactive segments that stay open after a read.
  static constexpr size_t kOpenInactive = 2;

  bool empty() const { return segments_.empty(); }
  size_t count() const { return segments_.size(); }
  int64_t size_bytes() const;
  Segment& active() const { return *segments_.back(); }
  Segment& oldest() const { return *segments_.front(); }
  Segment& at(size_t position) const { return *segments_[position]; }

  void add(std::unique_ptr<Segment> segment);
  // Takes the oldest or the active one out.
  std::unique_ptr<Segment> take_oldest();
  std::unique_ptr<Segment> take_active();

  // Puts one segment in the place of `count` (at least 1) from `position` on, none of them active.
  void replace(size_t position, size_t count, std::unique_ptr<Segment> segment);

  // Position of the segment that holds `offset`: the last with a base offset of at most that; 0 if all are
  // above.
  size_t floor(int64_t offset) const;

  // Segment::file of the segment at `position`; closes the least recently read one of the others if there are
  // too many. Those that reach beyond `recovery_point` stay open: they have a sync before them, and only the
  // descriptor that wrote is sure to learn of a failed write-back.
  Result<std::shared_ptr<File>> file(size_t position, int64_t recovery_point,
                                     int64_t end_offset = Segment::kAllBatches) const;
  // Closes inactive files that were kept open only because they weren't synced.
  void release_synced(int64_t recovery_point) const;
  // Lets segments rest that are synced and weren't used since the last call.
  void rest_unused(int64_t recovery_point);
  void close_synced(int64_t recovery_point);

  auto begin() const { return segments_.begin(); }
  auto end() const { return segments_.end(); }

 private:
  void forget(const Segment* segment) const;

  std::vector<std::unique_ptr<Segment>> segments_;
  mutable std::vector<const Segment*> recently_read_;  // inactive ones, the latest last
};

}  // namespace millrace::storage
