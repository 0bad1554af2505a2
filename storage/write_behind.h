// What a log holds back of what it appends. Batches that the journal makes durable needn't be in their
// segment's file at once: small ones wait in memory and are written together, which costs a fraction of one
// write for each. They are written before anybody looks at them in the file, when they have become many, and
// by the next checkpoint; what a crash takes of them is restored from the journal.
//
// The disk's space for them is set aside before, so that a disk that fills up refuses new records, and not
// those that were acknowledged.
#pragma once

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "protocol/bytes.h"

namespace millrace::storage {

// How much all logs of a shard hold back. Room is taken by the shard's thread, and given back on any: logs
// are closed in the disk pool.
class WriteBehindLimit {
 public:
  static constexpr size_t kMaxBytes = size_t{8} << 20;

  bool has_room(size_t bytes) const { return bytes_.load(std::memory_order_relaxed) + bytes <= kMaxBytes; }
  void take(size_t bytes) { bytes_.fetch_add(bytes, std::memory_order_relaxed); }
  void give_back(size_t bytes) { bytes_.fetch_sub(bytes, std::memory_order_relaxed); }

 private:
  std::atomic<size_t> bytes_ = 0;
};

// The batches that a segment holds back: they stand behind what its file has.
class HeldBatches {
 public:
  // In all. A write of so much costs little more for each byte than a larger one.
  static constexpr size_t kMaxBytes = size_t{48} << 10;
  // Of one batch: a larger one is dear by its bytes, which holding it back would copy once more.
  static constexpr size_t kMaxBatchBytes = size_t{12} << 10;

  HeldBatches() = default;
  HeldBatches(const HeldBatches&) = delete;
  HeldBatches& operator=(const HeldBatches&) = delete;
  ~HeldBatches() { clear(); }

  bool has_room(size_t bytes) const { return bytes <= kMaxBatchBytes && size() + bytes <= kMaxBytes; }
  // Has memory for so much more: each time about as much again, and nothing moves.
  void make_room(size_t bytes) {
    if (!chunks_.empty() && chunks_.back().capacity() - chunks_.back().size() >= bytes) return;
    if (empty()) chunks_.clear();
    chunks_.reserve(chunks_.size() + 1);
    Buffer chunk;
    chunk.reserve(std::max(bytes, std::min(size_, kMaxChunkBytes)));
    chunks_.push_back(std::move(chunk));
  }
  // `limit` (may be null) is told of it, is the same for all, and outlives this object.
  void add(Bytes batch, WriteBehindLimit* limit) {
    assert(empty() || limit == limit_);
    make_room(batch.size());
    chunks_.back().insert(chunks_.back().end(), batch.begin(), batch.end());
    size_ += batch.size();
    limit_ = limit;
    if (limit_ != nullptr) limit_->take(batch.size());
  }
  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  size_t capacity() const {
    size_t bytes = 0;
    for (const Buffer& chunk : chunks_) bytes += chunk.capacity();
    return bytes;
  }
  // What stands in the file one behind the other.
  std::vector<Bytes> pieces() const { return {chunks_.begin(), chunks_.end()}; }
  // The memory goes, too.
  void clear() {
    if (limit_ != nullptr) limit_->give_back(size_);
    limit_ = nullptr;
    size_ = 0;
    std::vector<Buffer>().swap(chunks_);
  }

 private:
  static constexpr size_t kMaxChunkBytes = size_t{16} << 10;

  std::vector<Buffer> chunks_;
  size_t size_ = 0;
  WriteBehindLimit* limit_ = nullptr;
};

}  // namespace millrace::storage
