// What the groups of a shard keep in memory of what clients sent and were assigned. Each part counts itself
// where it changes (a member in its group, a group here), so that there is nothing to keep in step;
// GroupCoordinator::check_room refuses what doesn't fit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "broker/coordinator/byte_count.h"

namespace millrace::coordinator {

struct GroupMemory {
  // Of members, their assignments and the topics that their regular expressions stand for, and of groups that
  // have committed nothing: what joins bring. Gone soon after whoever sent it.
  ByteCount members;
  // Of committed positions, and of the groups that have some: on disk, too, and for long.
  ByteCount positions;
};

// For messages.
inline int64_t mib(int64_t bytes) { return bytes >> 20; }

// What a node of an ordered or hashed container takes besides its value, roughly.
inline constexpr size_t kNodeBytes = 48;

// What a string of this size takes besides itself, roughly: short ones nothing.
inline size_t text_bytes(size_t size) {
  constexpr size_t kInPlace = 15;
  constexpr size_t kAllocation = 16;
  return size > kInPlace ? size + kAllocation : 0;
}
inline size_t text_bytes(std::string_view text) { return text_bytes(text.size()); }

inline size_t names_bytes(const std::set<std::string, std::less<>>& names) {
  size_t bytes = 0;
  for (const std::string& name : names) bytes += kNodeBytes + sizeof(name) + text_bytes(name);
  return bytes;
}

}  // namespace millrace::coordinator
