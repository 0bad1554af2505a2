// The highest revision of a metadata store that anybody was told of, in a file of its own among the store's.
//
// RocksDB takes a write-ahead log that was cut off for one with a torn tail, and opens without what is gone.
// This tells the two apart: it is written when a transaction is on disk, so that it is never ahead of what
// the store has to have. It isn't synced, so that after a power loss it may be behind, or torn: then it says
// less, or nothing. The death of the process leaves it exact.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "storage/file_system.h"

namespace millrace::metadata {

// Not thread safe.
class AcknowledgedRevision {
 public:
  static constexpr std::string_view kFile = "acknowledged-revision";

  explicit AcknowledgedRevision(const std::string& directory);

  // 0 where nothing is noted that can be read.
  int64_t read();
  // `revision` must be on disk. One that can't be noted (a full disk) leaves what was noted before.
  void write(int64_t revision);

 private:
  const std::string path_;
  storage::PosixFileSystem files_;
  std::shared_ptr<storage::File> file_;
};

}  // namespace millrace::metadata
