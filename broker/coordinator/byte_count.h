// Bytes that are held in memory for one thing, counted in the whole that it is part of (a member in its
// group, a group in its coordinator) for as long as it lives.
#pragma once

#include <cstdint>

namespace millrace::coordinator {

class ByteCount {
 public:
  ByteCount() = default;
  ~ByteCount() {
    if (whole_ != nullptr) whole_->add(-bytes_);
  }
  // Takes the bytes over, as part of nothing. Neither may have parts.
  ByteCount(ByteCount&& other) noexcept : bytes_(other.bytes_) { other.set(0); }
  ByteCount(const ByteCount&) = delete;
  ByteCount& operator=(const ByteCount&) = delete;

  int64_t bytes() const { return bytes_; }
  // From now on this is part of `whole`, which outlives it; always the same one.
  void join(ByteCount& whole) {
    if (whole_ != nullptr) return;
    whole_ = &whole;
    whole_->add(bytes_);
  }
  void set(int64_t bytes) { add(bytes - bytes_); }

 private:
  void add(int64_t change) {
    for (ByteCount* count = this; count != nullptr; count = count->whole_) count->bytes_ += change;
  }

  ByteCount* whole_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace millrace::coordinator
