// What a lookup found not to be in memory. A shard must not wait for the disk: it looks things up with one of
// these, and where that fails because something is missing, has load() bring it into memory on another
// thread, and looks again:
//
//   MissingData missing;
//   auto slice = log.read(offset, end_offset, max_bytes, true, &missing);
//   if (missing) { load on a thread that may wait; then look_again, and read again }
//
// The second look may miss the next thing, or the same one if memory is short, so the rounds need a limit;
// after that read without it.
//
// A search by time may have to go through all headers of a segment, in memory or not. That is load()'s work,
// too: the next look goes on where it has come to.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "protocol/result.h"
#include "storage/file_system.h"
#include "storage/offset_index.h"

namespace millrace::storage {

// Which batch of a segment is searched, and where.
struct TimestampSearch {
  int64_t timestamp_ms = 0;  // at least
  int64_t from_offset = 0;   // records below don't count
  std::string path;          // of the segment
  uint64_t changes = 0;      // of what its file holds
  int64_t position = 0;      // of a batch; none of those before it is the one
  int64_t end = 0;
};

class MissingData {
 public:
  // Whether the lookup failed because of something that load() can bring.
  explicit operator bool() const { return size_ > 0 || index_ != nullptr || is_searching_; }
  // Blocks until it is in memory. Any thread; the log's index must still be open. Errors: kKafkaStorageError.
  Result<> load();
  // Before the same lookup is made again: nothing is missing, but what load() has found out counts.
  void look_again();

  // For lookups. The file that the next parts are of.
  void look_in(std::shared_ptr<const File> file) { file_ = std::move(file); }
  // What was missed; return the error.
  std::unexpected<Error> need_part(int64_t position, size_t size);
  std::unexpected<Error> need_offset(const OffsetIndex& index, const SegmentKey& key, int64_t offset);
  std::unexpected<Error> need_timestamp(const OffsetIndex& index, const SegmentKey& key,
                                        int64_t timestamp_ms);
  std::unexpected<Error> need_search(TimestampSearch search);
  // Where to begin or go on: `search.position`, or where load() has come to with the same search.
  int64_t searched_to(const TimestampSearch& search) const;

 private:
  enum class By { kOffset, kTimestamp };

  Result<> run_search();

  std::shared_ptr<const File> file_;
  int64_t position_ = 0;
  size_t size_ = 0;
  const OffsetIndex* index_ = nullptr;
  SegmentKey key_;
  By by_ = By::kOffset;
  int64_t wanted_ = 0;
  bool is_searching_ = false;
  std::optional<TimestampSearch> search_;  // the last one
};

}  // namespace millrace::storage
