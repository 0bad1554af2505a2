// A window over a file that moves forward only: for whoever goes through a segment from its start, in few
// large reads and with bounded memory.
#pragma once

#include <cstdint>

#include "protocol/bytes.h"
#include "protocol/result.h"
#include "storage/file_system.h"

namespace millrace::storage {

class ForwardReader {
 public:
  static constexpr size_t kWindow = size_t{1} << 20;

  // `size` is the length of the part to be read. `file` outlives the reader.
  ForwardReader(const File& file, int64_t size) : file_(file), size_(size) {}

  // `bytes` bytes at `position`, or fewer at the end of the file; valid until the next call. The window grows
  // for what is larger than it. Errors: kKafkaStorageError.
  Result<Bytes> at(int64_t position, size_t bytes);

 private:
  const File& file_;
  const int64_t size_;
  Buffer window_;
  int64_t window_position_ = 0;
};

}  // namespace millrace::storage
