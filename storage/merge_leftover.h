// What a half-done swap of a compaction leaves in a log's directory (log_compaction.cc).
#pragma once

#include <cstdint>
#include <optional>

#include "storage/cleaner_checkpoint.h"

namespace millrace::storage {

// Whether the segment that begins at `base_offset` is one that a swap replaced, and whose name a crash has
// left or brought back: the segment `before` it is then the one that took its place, as the checkpoint's
// `merging` has announced.
inline bool is_merge_leftover(const std::optional<OffsetRange>& merging, const OffsetRange& before,
                              int64_t base_offset) {
  return merging && before == *merging && base_offset > merging->begin && base_offset < merging->end;
}

}  // namespace millrace::storage
