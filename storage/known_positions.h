// Where in a segment's file some offsets are: the ends of the latest appends, and where the latest reads
// began and ended. Consumers go on where they stopped, and the high watermark moves to where an append ended,
// so most reads find both of their ends here, without the index and without a look at the file.
//
// Says of an offset where the first batch begins that holds it or lies beyond it (the file's end when there
// is none): true for as long as nothing is taken off the end of the file.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace millrace::storage {

class KnownPositions {
 public:
  // An append ended before `offset`, at `position`.
  void note_append(int64_t offset, int64_t position) {
    appends_[next_append_++ % kAppends] = {offset, position};
  }
  void note_read(int64_t offset, int64_t position) {
    for (const Place& place : reads_) {
      if (place.offset == offset) return;
    }
    reads_[next_read_++ % kReads] = {offset, position};
  }

  std::optional<int64_t> find(int64_t offset) const {
    // The latest append is asked for most.
    for (size_t i = 1; i <= kAppends; ++i) {
      const Place& place = appends_[(next_append_ - i) % kAppends];
      if (place.offset == offset) return place.position;
    }
    for (const Place& place : reads_) {
      if (place.offset == offset) return place.position;
    }
    return std::nullopt;
  }

 private:
  struct Place {
    int64_t offset = -1;
    int64_t position = 0;
  };
  // As many batches as may wait for one sync before the high watermark has to be looked up.
  static constexpr size_t kAppends = 32;
  // Consumers that are at different places of one segment.
  static constexpr size_t kReads = 16;

  std::array<Place, kAppends> appends_;
  std::array<Place, kReads> reads_;
  uint32_t next_append_ = 0;
  uint32_t next_read_ = 0;
};

}  // namespace millrace::storage
