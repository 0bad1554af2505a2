// Memory for reads and writes past the page cache, which need it aligned. Unlike a Buffer's it isn't filled
// with zeros first.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

#include "protocol/bytes.h"

namespace millrace::storage {

class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  // `alignment`: a power of two; `size` must be a multiple of it.
  AlignedBuffer(size_t size, size_t alignment)
      : memory_(static_cast<std::byte*>(std::aligned_alloc(alignment, size))), size_(size) {
    if (size > 0 && !memory_) throw std::bad_alloc();
  }

  std::byte* data() const { return memory_.get(); }
  size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };

  std::unique_ptr<std::byte, Free> memory_;
  size_t size_ = 0;
};

}  // namespace millrace::storage
