// What a lookup found not to be in memory. A shard must not wait for the disk: it looks things up with one of
// these, and where that fails because something is missing, has load() bring it into memory on another
// thread, and looks again:
//
//   MissingData missing;
//   auto slice = log.read(offset, end_offset, max_bytes, true, &missing);
//   if (missing) { load on a thread that may wait; then read again, with another MissingData }
//
// The second look may miss the next thing, or the same one if memory is short, so the rounds need a limit;
// after that read without it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "protocol/result.h"
#include "storage/file_system.h"
#include "storage/offset_index.h"

namespace millrace::storage {

class MissingData {
 public:
  // Whether the lookup failed because of something that load() can bring.
  explicit operator bool() const { return size_ > 0 || index_ != nullptr; }
  // Blocks until it is in memory. Any thread; the log's index must still be open. Errors: kKafkaStorageError.
  Result<> load() const;

  // For lookups. The file that the next parts are of.
  void look_in(std::shared_ptr<const File> file) { file_ = std::move(file); }
  // What was missed; return the error.
  std::unexpected<Error> need_part(int64_t position, size_t size);
  std::unexpected<Error> need_offset(const OffsetIndex& index, const SegmentKey& key, int64_t offset);
  std::unexpected<Error> need_timestamp(const OffsetIndex& index, const SegmentKey& key,
                                        int64_t timestamp_ms);

 private:
  enum class By { kOffset, kTimestamp };

  std::shared_ptr<const File> file_;
  int64_t position_ = 0;
  size_t size_ = 0;
  const OffsetIndex* index_ = nullptr;
  SegmentKey key_;
  By by_ = By::kOffset;
  int64_t wanted_ = 0;
};

}  // namespace millrace::storage
