// Keeps a second broker out of a data directory: a lock on its file ".lock", which names the owner's process.
// The kernel drops the lock with the process, however that ends.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "protocol/result.h"

namespace millrace::storage {

class DirectoryLock {
 public:
  // Takes the lock of a directory that exists. Errors: kKafkaStorageError, with the owner's pid when there is
  // one.
  static Result<std::unique_ptr<DirectoryLock>> take(const std::string& directory);
  // The pid of the process that holds the lock of a directory, "unknown" when it didn't say; nothing when
  // nobody does. Creates nothing. It holds a shared lock itself for a moment to find out, so it is for tools
  // that a person starts and not for polling: a broker that starts in that moment is refused.
  static std::optional<std::string> owner(const std::string& directory);
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}
  const int fd_;
};

}  // namespace millrace::storage
