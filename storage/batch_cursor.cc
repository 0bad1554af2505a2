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
  if (position_ + header_size > window_position_ + static_cast<int64_t>(window_size_)) {
    if (auto filled = fill_window(); !filled) return std::unexpected(filled.error());
  }
  const auto header = protocol::peek_batch_header(
      Bytes(window_.data(), window_size_).subspan(static_cast<size_t>(position_ - window_position_)));
  if (!header) return damaged(*file_, position_, header.error().message);
  const BatchAt batch{*header, position_};
  if (batch.end_position() > end_)
    return damaged(*file_, position_, "the batch is longer than what is left of the file");
  position_ = batch.end_position();
  return batch;
}

Result<> BatchCursor::fill_window() {
  const MutableBytes window(window_.data(),
                            static_cast<size_t>(std::min<int64_t>(kWindow, end_ - position_)));
  const auto read =
      missing_ == nullptr ? file_->read_at(window, position_) : file_->read_cached(window, position_);
  if (!read) return std::unexpected(read.error());
  if (missing_ != nullptr && *read < BatchHeader::kSize) return missing_->need_part(position_, window.size());
  window_size_ = *read;
  window_position_ = position_;
  return {};
}

Result<Buffer> read_batch(const File& file, const BatchAt& at, MissingData* missing) {
  Buffer batch(at.header.size_bytes());
  const auto read =
      missing == nullptr ? file.read_at(batch, at.position) : file.read_cached(batch, at.position);
  if (!read) return std::unexpected(read.error());
  if (missing != nullptr && *read < batch.size()) return missing->need_part(at.position, batch.size());
  if (*read != batch.size()) return damaged(file, at.position, "the file ends within the batch");
  if (!protocol::crc_matches(batch))
    return damaged(file, at.position, "the batch's CRC isn't that of its contents");
  return batch;
}

}  // namespace millrace::storage
