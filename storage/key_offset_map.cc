#include "storage/key_offset_map.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

namespace millrace::storage {
namespace {

static_assert(std::endian::native == std::endian::little);

class SipHash {
 public:
  explicit SipHash(const HashSecret& secret)
      : v0_(secret.low ^ 0x736f6d6570736575),
        v1_(secret.high ^ 0x646f72616e646f6d ^ 0xee),
        v2_(secret.low ^ 0x6c7967656e657261),
        v3_(secret.high ^ 0x7465646279746573) {}

  void add(uint64_t word) {
    v3_ ^= word;
    rounds(2);
    v0_ ^= word;
  }
  KeyHash finish() {
    KeyHash hash;
    v2_ ^= 0xee;
    rounds(4);
    hash.low = v0_ ^ v1_ ^ v2_ ^ v3_;
    v1_ ^= 0xdd;
    rounds(4);
    hash.high = v0_ ^ v1_ ^ v2_ ^ v3_;
    return hash;
  }

 private:
  void rounds(int count) {
    for (int i = 0; i < count; ++i) {
      v0_ += v1_;
      v1_ = std::rotl(v1_, 13) ^ v0_;
      v0_ = std::rotl(v0_, 32);
      v2_ += v3_;
      v3_ = std::rotl(v3_, 16) ^ v2_;
      v0_ += v3_;
      v3_ = std::rotl(v3_, 21) ^ v0_;
      v2_ += v1_;
      v1_ = std::rotl(v1_, 17) ^ v2_;
      v2_ = std::rotl(v2_, 32);
    }
  }

  uint64_t v0_, v1_, v2_, v3_;
};

// As full as a table with linear probing may be without long searches.
constexpr size_t kFullEighths = 6;

}  // namespace

KeyHash hash_key(Bytes key, const HashSecret& secret) {
  SipHash hash(secret);
  const uint64_t length = key.size();
  while (key.size() >= sizeof(uint64_t)) {
    uint64_t word;
    std::memcpy(&word, key.data(), sizeof word);
    hash.add(word);
    key = key.subspan(sizeof word);
  }
  uint64_t last = 0;
  if (!key.empty()) std::memcpy(&last, key.data(), key.size());
  hash.add(last | length << 56);
  return hash.finish();
}

KeyOffsetMap::KeyOffsetMap(size_t most_keys, size_t memory_bytes, const HashSecret& secret)
    : secret_(secret) {
  const size_t affordable = std::bit_floor(std::max(memory_bytes / kSlotSize, kLeastKeys * 2));
  const size_t keys = std::clamp(most_keys, kLeastKeys, affordable);
  const size_t wanted = std::bit_ceil(keys * 8 / kFullEighths + 1);
  slot_count_ = std::min(wanted, affordable);
  most_keys_ = slot_count_ * kFullEighths / 8;
  // Zeroed by the kernel, page by page, when first touched.
  slots_.reset(static_cast<Slot*>(std::calloc(slot_count_, kSlotSize)));
  if (!slots_) throw std::bad_alloc();
}

KeyOffsetMap::Slot& KeyOffsetMap::slot_of(const KeyHash& hash) const {
  size_t at = hash.low & (slot_count_ - 1);
  while (slots_[at].end_offset != 0 && slots_[at].hash != hash) at = (at + 1) & (slot_count_ - 1);
  return slots_[at];
}

bool KeyOffsetMap::put(Bytes key, int64_t offset) {
  const KeyHash hash = hash_key(key, secret_);
  Slot& slot = slot_of(hash);
  if (slot.end_offset == 0) {
    if (size_ == most_keys_) return false;
    ++size_;
    slot.hash = hash;
  }
  slot.end_offset = std::max(slot.end_offset, offset + 1);
  return true;
}

std::optional<int64_t> KeyOffsetMap::find(Bytes key) const {
  const Slot& slot = slot_of(hash_key(key, secret_));
  if (slot.end_offset == 0) return std::nullopt;
  return slot.end_offset - 1;
}

}  // namespace millrace::storage
