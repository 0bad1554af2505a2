// Which offset the next batch of a segment may have.
//
// A batch's CRC doesn't cover its base offset, which a broker writes (KIP-98): only the batches around it
// tell whether it is right. In a log that was never compacted each begins where the one before ends;
// elsewhere there may be holes, and offsets just ascend.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include "protocol/record_batch.h"

namespace millrace::storage {

class OffsetChain {
 public:
  // From a segment's base offset. Kafka stores offsets as 32-bit differences; its tools expect no more.
  static constexpr int32_t kFurthest = std::numeric_limits<int32_t>::max();

  // `due`: where the batch before ends, or the segment begins. `end`: where the next segment seems to begin,
  // which may be one that is to go; nullopt for the last one.
  OffsetChain(int64_t due, std::optional<int64_t> end, bool may_have_holes)
      : due_(due), end_(end), may_have_holes_(may_have_holes), is_exact_(!may_have_holes) {}

  // All batches end at or before `end_offset`.
  void limit_to(int64_t end_offset) { limit_ = end_offset; }

  int64_t due() const { return due_; }
  const std::optional<int64_t>& end() const { return end_; }
  // Whether the next batch can only have the offset that is due.
  bool is_exact() const { return is_exact_; }

  // What is wrong with a batch's offsets; empty if nothing is.
  std::string damage(const protocol::BatchHeader& header) const;
  // Whether a batch with a sound CRC, whose base offset is wrong, can only belong at the offset that is due:
  // what follows it (`next`: the header behind it; null at the segment's end) begins where it would end then.
  bool is_proven_by(const protocol::BatchHeader& header, const protocol::BatchHeader* next) const;

  // Goes on behind a batch without damage.
  void pass(const protocol::BatchHeader& header);
  // Goes on behind a batch with a sound CRC, whatever its base offset.
  void pass_as_due(const protocol::BatchHeader& header);
  // Goes on behind a batch of which nothing is believed.
  void skip() { is_exact_ = false; }

 private:
  int64_t due_;
  std::optional<int64_t> end_;
  std::optional<int64_t> limit_;
  bool may_have_holes_;
  bool is_exact_;
};

}  // namespace millrace::storage
