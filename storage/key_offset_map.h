// The latest offset of each key in a part of a log, within a fixed amount of memory: what a compaction knows
// about the records that it may drop.
//
// Keys are kept as 128-bit hashes (SipHash-2-4 under a secret of the caller's), so that an entry takes 24
// bytes whatever the key's length, and neither chance nor a producer's choice of keys makes two of them
// equal.
#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>

#include "protocol/bytes.h"

namespace millrace::storage {

struct HashSecret {
  uint64_t low = 0;
  uint64_t high = 0;
};
struct KeyHash {
  uint64_t low = 0;
  uint64_t high = 0;
  auto operator<=>(const KeyHash&) const = default;
};
// SipHash-2-4 with 128 bits of output.
KeyHash hash_key(Bytes key, const HashSecret& secret);

class KeyOffsetMap {
 public:
  static constexpr size_t kSlotSize = 24;

  // Room for `most_keys`, or for as many as `memory_bytes` hold (at least kLeastKeys). Memory is touched as
  // it fills.
  KeyOffsetMap(size_t most_keys, size_t memory_bytes, const HashSecret& secret);

  // Notes that `key` has a record at `offset` (not negative); a higher one that is there stays. False when
  // the map is full and doesn't have the key: nothing was noted then.
  bool put(Bytes key, int64_t offset);
  // The highest offset noted for `key`.
  std::optional<int64_t> find(Bytes key) const;

  size_t size() const { return size_; }
  size_t capacity() const { return most_keys_; }
  static constexpr size_t kLeastKeys = 16;

 private:
  struct Slot {
    KeyHash hash;
    int64_t end_offset;  // offset + 1; 0: free
  };
  static_assert(sizeof(Slot) == kSlotSize);
  struct Free {
    void operator()(Slot* slots) const { std::free(slots); }
  };

  // Where the key is, or would go.
  Slot& slot_of(const KeyHash& hash) const;

  const HashSecret secret_;
  size_t slot_count_;
  size_t most_keys_;
  size_t size_ = 0;
  std::unique_ptr<Slot[], Free> slots_;
};

}  // namespace millrace::storage
