// Files and directories as the storage module sees them: an interface, so that tests can lose, tear and
// refuse writes, and its implementation on POSIX.
//
// Every error is kKafkaStorageError, with the path, the operation and the system's reason in its message.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/result.h"

namespace millrace::storage {

enum class Reserved { kNo, kYes };

// An open file. Reads, writes and syncs may run on different threads at once; it closes with its last owner,
// so a slice under way to a socket outlives the deletion of its segment.
class File {
 public:
  virtual ~File() = default;

  // Reads at `position` until `out` is full or the file ends; returns the bytes read.
  virtual Result<size_t> read_at(MutableBytes out, int64_t position) const = 0;
  // The same for who mustn't wait for the disk: ends early where the rest isn't in memory. These three have
  // files in memory in mind; whoever overrides one overrides all.
  virtual Result<size_t> read_cached(MutableBytes out, int64_t position) const {
    return read_at(out, position);
  }
  // Whether a range within the file, of a few MiB at most, is in memory, so far as that is cheap to find out.
  virtual bool is_cached(int64_t /*position*/, size_t /*size*/) const { return true; }
  // Returns once the range is in memory; has `ahead` bytes behind it read, too, without waiting for them.
  virtual Result<> load(int64_t /*position*/, size_t /*size*/, size_t /*ahead*/) const { return {}; }
  // Lets the range go from memory, where nobody changed it: for who read it once and won't again.
  virtual void drop_cached(int64_t /*position*/, size_t /*size*/) const {}
  // Writes all pieces, one after the other, from `position` on. On an error some of the bytes may stand in
  // the file.
  virtual Result<> write_at(std::span<const Bytes> pieces, int64_t position) = 0;
  virtual Result<> truncate(int64_t size) = 0;
  // Returns once the content, and the size needed to read it, are on disk (fdatasync).
  virtual Result<> sync_data() = 0;
  virtual Result<int64_t> size() const = 0;
  // Sets disk space aside for the range, without changing the size, so that writes to it don't find the disk
  // full. Errors: kKafkaStorageError where there is none. kNo where that isn't known to work: space may be
  // set aside all the same, or not.
  virtual Result<Reserved> reserve(int64_t position, int64_t bytes) = 0;

  // The descriptor for sendfile; -1 where there is none (files in memory).
  virtual int fd() const = 0;
  virtual const std::string& path() const = 0;

  // Who found the file to end at `position`, before the end of what it is known to hold, says so here:
  // whoever hands out parts of it looks at its size from then on. Any thread.
  void note_end(int64_t position) const { found_end_.store(position, std::memory_order_relaxed); }
  int64_t found_end() const { return found_end_.load(std::memory_order_relaxed); }

 private:
  mutable std::atomic<int64_t> found_end_ = std::numeric_limits<int64_t>::max();
};

struct FileSlice {
  std::shared_ptr<const File> file;
  int64_t position = 0;
  size_t size = 0;
};

struct DirectoryEntry {
  std::string name;
  bool is_directory = false;
  auto operator<=>(const DirectoryEntry&) const = default;
};

struct FileStatus {
  int64_t size = 0;
  int64_t modified_ms = 0;
};

enum class OpenMode {
  kRead,
  kReadWrite,
  kCreate,
  // Each write is on disk when it returns, past the page cache where the file system can: addresses,
  // positions and sizes must be multiples of 4096 bytes. For files whose space was written before.
  kDurable,
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;

  // Needs the file to exist; but kCreate makes an empty one if there is none (sync_directory makes its name
  // durable).
  virtual Result<std::shared_ptr<File>> open(const std::string& path, OpenMode mode) = 0;
  virtual Result<bool> exists(const std::string& path) = 0;
  virtual Result<FileStatus> status(const std::string& path) = 0;
  // Entries in order of their names, without "." and "..".
  virtual Result<std::vector<DirectoryEntry>> list(const std::string& directory) = 0;
  // Replaces `to` where it exists.
  virtual Result<> rename(const std::string& from, const std::string& to) = 0;
  // Removes a file, or a directory with all that is in it; what isn't there is no error.
  virtual Result<> remove(const std::string& path) = 0;
  // Makes the directory and its parents; one that is there is no error.
  virtual Result<> create_directory(const std::string& path) = 0;
  // Returns once the names in the directory are on disk.
  virtual Result<> sync_directory(const std::string& path) = 0;
  // Has sync_all tell of whatever the kernel failed to write from now on, not just of what it fails to write
  // during the call. For one path, once, before anything is written.
  virtual Result<> watch_for_failures(const std::string& /*path*/) { return {}; }
  // Returns once everything in the file system that holds `path` is on disk, names and contents (syncfs). For
  // many files that costs far less than a sync of each.
  virtual Result<> sync_all(const std::string& path) = 0;
};

class PosixFileSystem : public FileSystem {
 public:
  using SyncFailed = std::function<void(const Error&)>;

  // `sync_failed` is told of every sync that fails, of files and directories, before its caller is: on the
  // calling thread. The kernel reports a failed write-back once and then takes the lost pages for clean, so
  // that the next sync of the file succeeds. Who lives on after that, acknowledges what may not be there.
  explicit PosixFileSystem(SyncFailed sync_failed = {});
  ~PosixFileSystem() override;
  PosixFileSystem(const PosixFileSystem&) = delete;
  Result<std::shared_ptr<File>> open(const std::string& path, OpenMode mode) override;
  Result<bool> exists(const std::string& path) override;
  Result<FileStatus> status(const std::string& path) override;
  Result<std::vector<DirectoryEntry>> list(const std::string& directory) override;
  Result<> rename(const std::string& from, const std::string& to) override;
  Result<> remove(const std::string& path) override;
  Result<> create_directory(const std::string& path) override;
  Result<> sync_directory(const std::string& path) override;
  Result<> watch_for_failures(const std::string& path) override;
  Result<> sync_all(const std::string& path) override;

 private:
  std::atomic<int> watching_ = -1;                 // descriptor for sync_all
  std::shared_ptr<const SyncFailed> sync_failed_;  // shared with the files, which may live longer
};

// Whether an error of this module says that there is no space left (or no quota).
bool is_full_disk(const Error& error);

// The whole content of a file; kKafkaStorageError when it is larger than `limit` bytes.
Result<Buffer> read_file(FileSystem& files, const std::string& path, size_t limit);

// Replaces a file so that after a crash either the old or the new content is there (temporary file, sync,
// rename, directory sync).
Result<> replace_file(FileSystem& files, const std::string& path, Bytes content);

}  // namespace millrace::storage
