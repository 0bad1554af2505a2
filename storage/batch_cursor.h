// Walks the batch headers of a segment file, without reading the records.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "protocol/record_batch.h"
#include "protocol/result.h"
#include "storage/file_system.h"
#include "storage/missing_data.h"

namespace millrace::storage {

// A batch and where in its file it begins.
struct BatchAt {
  protocol::BatchHeader header;
  int64_t position = 0;

  int64_t end_position() const { return position + static_cast<int64_t>(header.size_bytes()); }
};

// Whether the batch may have a record with at least this timestamp and offset.
inline bool may_have(const protocol::BatchHeader& header, int64_t timestamp_ms, int64_t from_offset) {
  return header.record_count > 0 && header.max_timestamp_ms >= timestamp_ms &&
         header.last_offset() >= from_offset;
}

class BatchCursor {
 public:
  // Goes from `position` to `end`, the length of the sound part of the file. `file` outlives the cursor. With
  // `missing` (which looks in this file) it never waits for the disk, see missing_data.h.
  BatchCursor(const File& file, int64_t position, int64_t end, MissingData* missing = nullptr)
      : file_(&file), position_(position), end_(end), missing_(missing) {}

  // The next batch; nullopt at the end. Errors: kCorruptMessage, with file and position, for what isn't a
  // whole batch; kKafkaStorageError; kOperationNotAttempted where something is missing.
  Result<std::optional<BatchAt>> next();
  // Where the next batch begins.
  int64_t position() const { return position_; }

 private:
  // A header and a few small batches: most lookups end within an index interval of 4 KiB.
  static constexpr size_t kWindow = 4096 + protocol::BatchHeader::kSize;

  Result<> fill_window();

  const File* file_;
  int64_t position_;
  int64_t end_;
  MissingData* missing_;
  // Not cleared: a lookup of one header would pay for all of it.
  std::array<std::byte, kWindow> window_;
  size_t window_size_ = 0;
  int64_t window_position_ = 0;
};

// Reads a whole batch. Errors: kCorruptMessage when its CRC isn't right or the file is too short,
// kKafkaStorageError; kOperationNotAttempted where it is missing.
Result<Buffer> read_batch(const File& file, const BatchAt& at, MissingData* missing = nullptr);

}  // namespace millrace::storage
