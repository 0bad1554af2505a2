// A sorted set of shared, immutable things whose copies share memory. A copy costs one pointer per chunk of
// up to kChunkSize things, a change copies one chunk: with 10,000 topics some 200 pointers and 64 more,
// microseconds.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

namespace millrace::metadata {

// Ptr is a shared pointer; KeyOf{}(*ptr) is its key, ordered by <.
template <class Ptr, class KeyOf>
class ChunkedSet {
 public:
  static constexpr size_t kChunkSize = 64;

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // The thing with this key, or null.
  template <class Key>
  const Ptr* find(const Key& key) const {
    const size_t c = chunk_of(key);
    if (c == chunks_.size()) return nullptr;
    const auto at = lower_bound(*chunks_[c], key);
    return at != chunks_[c]->end() && KeyOf{}(**at) == key ? &*at : nullptr;
  }

  // Inserts, or replaces the thing with the same key.
  void set(Ptr value) {
    const auto key = KeyOf{}(*value);
    if (chunks_.empty()) chunks_.push_back(std::make_shared<const Chunk>());
    const size_t c = std::min(chunk_of(key), chunks_.size() - 1);
    Chunk chunk = *chunks_[c];
    const auto at = lower_bound(chunk, key);
    if (at != chunk.end() && KeyOf{}(**at) == key) {
      *at = std::move(value);
    } else {
      chunk.insert(at, std::move(value));
      ++size_;
    }
    replace(c, std::move(chunk));
  }

  // Whether there was one.
  template <class Key>
  bool erase(const Key& key) {
    const size_t c = chunk_of(key);
    if (c == chunks_.size()) return false;
    Chunk chunk = *chunks_[c];
    const auto at = lower_bound(chunk, key);
    if (at == chunk.end() || KeyOf{}(**at) != key) return false;
    chunk.erase(at);
    --size_;
    replace(c, std::move(chunk));
    return true;
  }

  // Calls f(const Ptr&) in the order of the keys, from `first` on; f returns whether to go on.
  template <class Key, class F>
  void for_each_from(const Key& first, F&& f) const {
    for (size_t c = chunk_of(first); c < chunks_.size(); ++c) {
      for (auto at = lower_bound(*chunks_[c], first); at != chunks_[c]->end(); ++at) {
        if (!f(*at)) return;
      }
    }
  }

  // Calls f(const Ptr&) for all, in the order of the keys.
  template <class F>
  void for_each(F&& f) const {
    for (const auto& chunk : chunks_) {
      for (const Ptr& value : *chunk) f(value);
    }
  }

 private:
  using Chunk = std::vector<Ptr>;

  // The first chunk whose last key isn't below `key`: the only one that can hold it.
  template <class Key>
  size_t chunk_of(const Key& key) const {
    const auto at = std::partition_point(chunks_.begin(), chunks_.end(), [&](const auto& chunk) {
      return !chunk->empty() && KeyOf{}(*chunk->back()) < key;
    });
    return static_cast<size_t>(at - chunks_.begin());
  }

  template <class C, class Key>
  static auto lower_bound(C& chunk, const Key& key) {
    return std::partition_point(chunk.begin(), chunk.end(), [&](const Ptr& p) { return KeyOf{}(*p) < key; });
  }

  void replace(size_t c, Chunk chunk) {
    if (chunk.empty()) {
      chunks_.erase(chunks_.begin() + static_cast<std::ptrdiff_t>(c));
    } else if (chunk.size() <= kChunkSize) {
      chunks_[c] = std::make_shared<const Chunk>(std::move(chunk));
    } else {
      const auto half = chunk.begin() + static_cast<std::ptrdiff_t>(chunk.size() / 2);
      auto upper = std::make_shared<const Chunk>(half, chunk.end());
      chunk.erase(half, chunk.end());
      chunks_[c] = std::make_shared<const Chunk>(std::move(chunk));
      chunks_.insert(chunks_.begin() + static_cast<std::ptrdiff_t>(c) + 1, std::move(upper));
    }
  }

  std::vector<std::shared_ptr<const Chunk>> chunks_;
  size_t size_ = 0;
};

}  // namespace millrace::metadata
