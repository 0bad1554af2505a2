// The memory of one request frame. It grows as the bytes arrive, so that a declared length alone pins
// nothing, and is not cleared before it is overwritten.
#pragma once

#include <cstddef>
#include <utility>

#include "broker/runtime/memory_budget.h"
#include "protocol/bytes.h"

namespace millrace::net {

class FrameBuffer {
 public:
  FrameBuffer() = default;
  FrameBuffer(FrameBuffer&& other) noexcept { swap(other); }
  FrameBuffer& operator=(FrameBuffer&& other) noexcept {
    FrameBuffer(std::move(other)).swap(*this);
    return *this;
  }
  ~FrameBuffer();

  // Moves the content into at least `capacity` bytes. False when the system has no memory; nothing changes
  // then.
  bool reserve(size_t capacity);
  void append(Bytes bytes);  // fits in capacity
  // Room for the next bytes; commit() says how many were written.
  MutableBytes room() { return {data_ + size_, capacity_ - size_}; }
  void commit(size_t count) { size_ += count; }

  MutableBytes bytes() { return {data_, size_}; }
  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }

  // What the shard's budget was charged for it.
  runtime::MemoryLease lease;

 private:
  void swap(FrameBuffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    std::swap(lease, other.lease);
  }

  std::byte* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace millrace::net
