#include "storage/batch_cursor.h"

#include <fmt/format.h>

#include <algorithm>

namespace millrace::storage {
namespace {

using protocol::BatchHeader;

std::unexpected<Error> damaged(const File& file, int64_t position, std::string_view what) {
  return fail(ErrorCode::kCorruptMessage, fmt::format("{} at byte {}: {}; `millrace log verify` tells more",
                                                      file.path(), position, what));
}

}  // namespace

Result<std::optional<BatchAt>> BatchCursor::next() {
  if (position_ >= end_) return std::nullopt;
  const auto header_size = static_cast<int64_t>(BatchHeader::kSize);
  if (end_ - position_ < header_size) return damaged(*file_, position_, "less than a batch header is left");
  const int64_t window_end = window_position_ + static_cast<int64_t>(window_.size());
  if (position_ < window_position_ || position_ + header_size > window_end) {
    window_.resize(static_cast<size_t>(std::min<int64_t>(kWindow, end_ - position_)));
    const auto read = file_->read_at(window_, position_);
    if (!read) return std::unexpected(read.error());
    window_.resize(*read);
    window_position_ = position_;
  }
  const auto header =
      protocol::peek_batch_header(Bytes(window_).subspan(static_cast<size_t>(position_ - window_position_)));
  if (!header) return damaged(*file_, position_, header.error().message);
  const BatchAt batch{*header, position_};
  if (batch.end_position() > end_)
    return damaged(*file_, position_, "the batch is longer than what is left of the file");
  position_ = batch.end_position();
  return batch;
}

Result<Buffer> read_batch(const File& file, const BatchAt& at) {
  Buffer batch(at.header.size_bytes());
  const auto read = file.read_at(batch, at.position);
  if (!read) return std::unexpected(read.error());
  if (*read != batch.size()) return damaged(file, at.position, "the file ends within the batch");
  if (!protocol::crc_matches(batch))
    return damaged(file, at.position, "the batch's CRC isn't that of its contents");
  return batch;
}

}  // namespace millrace::storage
