// Memory for the arrays and texts of one message: handed out piece by piece, freed all at once.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "protocol/array.h"
#include "protocol/bytes.h"

namespace millrace {

class Arena {
 public:
  // `limit` in bytes and `max_elements`, of all arrays together, bind what a peer's input asks for
  // (try_make_array); our own needs are never refused.
  explicit Arena(size_t limit = SIZE_MAX, size_t max_elements = SIZE_MAX)
      : limit_(limit), elements_left_(max_elements) {}

  Arena(Arena&& other) noexcept { swap(other); }
  Arena& operator=(Arena&& other) noexcept {
    Arena(std::move(other)).swap(*this);
    return *this;
  }
  ~Arena() {
    while (blocks_ != nullptr) ::operator delete(std::exchange(blocks_, blocks_->next));
  }

  // The limit that suits a frame of this many bytes: no honest message takes more memory per encoded byte
  // than a list of empty nullable strings, which are one byte there and 24 here.
  static constexpr size_t limit_for_frame(size_t frame_bytes) { return kFloor + kFactor * frame_bytes; }

  // `count` elements with their default values; nothing when the limits don't allow them.
  template <class T>
  std::optional<Array<T>> try_make_array(size_t count) {
    if (count > elements_left_ || count > (limit_ - std::min(limit_, used_)) / sizeof(T)) {
      refused_ = true;
      return std::nullopt;
    }
    elements_left_ -= count;
    return make_array<T>(count);
  }
  // Whether it has refused an array: the message may be well-formed, and too large.
  bool refused() const { return refused_; }
  size_t elements_left() const { return elements_left_; }

  // As above, for counts that are our own; counts towards the limit in bytes and ignores it.
  template <class T>
  Array<T> make_array(size_t count) {
    static_assert(std::is_trivially_destructible_v<T>, "an arena frees memory without running destructors");
    if (count == 0) return {};
    T* elements = static_cast<T*>(allocate(count * sizeof(T), alignof(T)));
    std::uninitialized_value_construct_n(elements, count);
    return {elements, count};
  }

  // Copies that live as long as the arena.
  std::string_view copy(std::string_view text);
  Bytes copy(Bytes bytes);
  template <class T>
  Array<T> copy(const std::vector<T>& elements) {
    static_assert(std::is_trivially_destructible_v<T>, "an arena frees memory without running destructors");
    if (elements.empty()) return {};
    T* copies = static_cast<T*>(allocate(elements.size() * sizeof(T), alignof(T)));
    std::uninitialized_copy(elements.begin(), elements.end(), copies);
    return {copies, elements.size()};
  }

  // Bytes handed out so far.
  size_t used() const { return used_; }

 private:
  static constexpr size_t kFloor = 4096;
  static constexpr size_t kFactor = 32;
  static constexpr size_t kFirstBlock = 1024 - sizeof(void*) * 2;  // what is behind its header
  static constexpr size_t kLargestBlock = 64 * 1024;

  // In front of the memory that it stands for.
  struct alignas(std::max_align_t) Block {
    Block* next;
  };

  void* allocate(size_t size, size_t alignment);
  std::byte* new_block(size_t size);
  void swap(Arena& other) noexcept {
    std::swap(limit_, other.limit_);
    std::swap(elements_left_, other.elements_left_);
    std::swap(refused_, other.refused_);
    std::swap(used_, other.used_);
    std::swap(next_block_, other.next_block_);
    std::swap(at_, other.at_);
    std::swap(end_, other.end_);
    std::swap(blocks_, other.blocks_);
  }

  size_t limit_ = SIZE_MAX;
  size_t elements_left_ = SIZE_MAX;
  bool refused_ = false;
  size_t used_ = 0;
  size_t next_block_ = kFirstBlock;
  std::byte* at_ = nullptr;
  std::byte* end_ = nullptr;
  Block* blocks_ = nullptr;
};

}  // namespace millrace
