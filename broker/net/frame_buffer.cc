#include "broker/net/frame_buffer.h"

#include <cassert>
#include <cstdlib>
#include <cstring>

namespace millrace::net {

FrameBuffer::~FrameBuffer() { std::free(data_); }

bool FrameBuffer::reserve(size_t capacity) {
  if (capacity <= capacity_) return true;
  // realloc moves large blocks by remapping their pages, without a copy.
  void* const moved = std::realloc(data_, capacity);
  if (moved == nullptr) return false;
  data_ = static_cast<std::byte*>(moved);
  capacity_ = capacity;
  return true;
}

void FrameBuffer::append(Bytes bytes) {
  assert(bytes.size() <= capacity_ - size_);
  if (!bytes.empty()) std::memcpy(data_ + size_, bytes.data(), bytes.size());
  size_ += bytes.size();
}

}  // namespace millrace::net
