// Damage in segment files: finding it before a reader does, and remembering what of a log can't be read.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/record_batch.h"
#include "protocol/result.h"
#include "storage/file_system.h"
#include "storage/forward_reader.h"
#include "storage/offset_chain.h"

namespace millrace::storage {

// Offsets whose records are stored, and can't be read.
struct DamagedRange {
  int64_t first_offset = 0;
  int64_t end_offset = 0;  // exclusive
  std::string file;
  int64_t position = 0;  // in it, of the first byte that isn't sound
  std::string what;
  bool is_endless = false;  // nothing tells where in the segment the next batch begins
};

// What a person is told of damage in the log `name` ("topic-0"): where, which offsets, what to do.
std::string describe(const DamagedRange& damage, std::string_view name);

// What is known to be damaged of one log. In memory only: the index doesn't cover the segment any more, so
// that a start finds it again.
class DamageList {
 public:
  bool empty() const { return ranges_.empty(); }
  size_t count() const { return ranges_.size(); }
  // False if a range that begins there was known.
  bool add(DamagedRange range);
  // The range that holds `offset`; null if none does.
  const DamagedRange* covering(int64_t offset) const;
  // The first range that begins above `offset`; null if none does.
  const DamagedRange* next_above(int64_t offset) const;
  // Forgets what lies below a new log start, or from a new log end on.
  void forget_below(int64_t start_offset);
  void forget_from(int64_t end_offset);

 private:
  std::map<int64_t, DamagedRange> ranges_;  // by first offset
};

// What a scrub can look at: a segment that is written no more and synced, or such a part of the active one.
struct SealedSegment {
  std::string path;
  int64_t base_offset = 0;
  int64_t end_offset = 0;  // where the next segment begins, or what follows the part
  int64_t size = 0;
  bool is_part = false;
  bool may_have_holes = false;  // see OffsetChain
  uint64_t changes = 0;         // that the log had seen to what was written before
};

// Reads a sealed segment from its start to its end, in steps, and checks every batch: size, magic, CRC,
// offsets. Goes on behind a batch whose length can still be believed; else the rest of the segment is
// damaged. Leaves the page cache as it was.
class SegmentSurvey {
 public:
  SegmentSurvey(std::shared_ptr<const File> file, SealedSegment segment);

  // Looks at about so many bytes more; returns false at the end. What can't be read counts as damage.
  bool advance(int64_t bytes);
  int64_t position() const { return position_; }
  const SealedSegment& segment() const { return segment_; }
  const std::vector<DamagedRange>& damages() const { return damages_; }

 private:
  void look_at_batch();
  void note(std::string what);
  void close(int64_t end_offset);
  void give_up(std::string what);

  const std::shared_ptr<const File> file_;
  const SealedSegment segment_;
  ForwardReader reader_;
  int64_t position_ = 0;
  OffsetChain chain_;
  std::optional<DamagedRange> open_;  // up to the next sound batch
  std::vector<DamagedRange> damages_;
};

}  // namespace millrace::storage
