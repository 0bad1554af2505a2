#include "storage/forward_reader.h"

#include <algorithm>

namespace millrace::storage {

Result<Bytes> ForwardReader::at(int64_t position, size_t bytes) {
  bytes = static_cast<size_t>(std::min<int64_t>(static_cast<int64_t>(bytes), size_ - position));
  const int64_t window_end = window_position_ + static_cast<int64_t>(window_.size());
  if (position < window_position_ || position + static_cast<int64_t>(bytes) > window_end) {
    const auto wanted =
        std::min<int64_t>(std::max<int64_t>(kWindow, static_cast<int64_t>(bytes)), size_ - position);
    window_.resize(static_cast<size_t>(wanted));
    const auto read = file_.read_at(window_, position);
    if (!read) return std::unexpected(read.error());
    window_.resize(*read);
    window_position_ = position;
    bytes = std::min(bytes, *read);
  }
  return Bytes(window_).subspan(static_cast<size_t>(position - window_position_), bytes);
}

}  // namespace millrace::storage
