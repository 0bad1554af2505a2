#include "protocol/arena.h"

#include <cstring>

namespace millrace {

void* Arena::allocate(size_t size, size_t alignment) {
  used_ += size;
  const size_t padding = -reinterpret_cast<uintptr_t>(at_) & (alignment - 1);
  if (static_cast<size_t>(end_ - at_) >= size + padding && at_ != nullptr) {
    std::byte* piece = at_ + padding;
    at_ = piece + size;
    return piece;
  }
  if (size > next_block_ / 2) {
    // A large piece gets a block of its own, so that the rest of the current one isn't wasted.
    return new_block(size);
  }
  std::byte* piece = new_block(next_block_);
  at_ = piece + size;
  end_ = piece + next_block_;
  next_block_ = std::min(next_block_ * 2, kLargestBlock);
  return piece;
}

std::byte* Arena::new_block(size_t size) {
  blocks_ = new (::operator new(sizeof(Block) + size)) Block{blocks_};
  return reinterpret_cast<std::byte*>(blocks_ + 1);
}

std::string_view Arena::copy(std::string_view text) { return as_text(copy(as_bytes(text))); }

Bytes Arena::copy(Bytes bytes) {
  if (bytes.empty()) return {};
  auto* copied = static_cast<std::byte*>(allocate(bytes.size(), 1));
  std::memcpy(copied, bytes.data(), bytes.size());
  return {copied, bytes.size()};
}

}  // namespace millrace
