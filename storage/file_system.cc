#include "storage/file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>

#include "storage/descriptors.h"
#include "storage/page_cache.h"
#include "storage/system_error.h"

namespace millrace::storage {
namespace {

constexpr size_t kMaxPiecesPerWrite = 64;
constexpr mode_t kFileMode = 0644;

using SyncFailed = PosixFileSystem::SyncFailed;

std::unexpected<Error> sync_failure(const SyncFailed& sync_failed, const std::string& path, int error) {
  auto failure = system_failure("can't sync", path, error);
  if (sync_failed) sync_failed(failure.error());
  return failure;
}

class PosixFile final : public File {
 public:
  PosixFile(int fd, std::string path, std::shared_ptr<const SyncFailed> sync_failed)
      : fd_(fd), path_(std::move(path)), sync_failed_(std::move(sync_failed)) {}
  ~PosixFile() override { ::close(fd_); }
  PosixFile(const PosixFile&) = delete;
  PosixFile& operator=(const PosixFile&) = delete;

  Result<size_t> read_at(MutableBytes out, int64_t position) const override {
    size_t done = 0;
    while (done < out.size()) {
      const ssize_t n =
          ::pread(fd_, out.data() + done, out.size() - done, position + static_cast<int64_t>(done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return system_failure("can't read", path_, errno);
      if (n == 0) break;
      done += static_cast<size_t>(n);
    }
    return done;
  }

  Result<size_t> read_cached(MutableBytes out, int64_t position) const override {
    const ssize_t n = page_cache::read_cached(fd_, out, position);
    if (n < 0) return system_failure("can't read", path_, errno);
    return static_cast<size_t>(n);
  }

  bool is_cached(int64_t position, size_t size) const override {
    return page_cache::is_cached(fd_, position, size);
  }

  Result<> load(int64_t position, size_t size, size_t ahead) const override {
    if (const int error = page_cache::load(fd_, position, size, ahead); error != 0) {
      return system_failure("can't read", path_, error);
    }
    return {};
  }

  void drop_cached(int64_t position, size_t size) const override {
    (void)::posix_fadvise(fd_, position, static_cast<off_t>(size), POSIX_FADV_DONTNEED);
  }

  Result<> write_at(std::span<const Bytes> pieces, int64_t position) override {
    size_t first = 0;
    size_t skip = 0;
    while (first < pieces.size()) {
      std::array<iovec, kMaxPiecesPerWrite> vectors;
      const size_t count = std::min(pieces.size() - first, kMaxPiecesPerWrite);
      for (size_t i = 0; i < count; ++i) {
        const Bytes piece = i == 0 ? pieces[first].subspan(skip) : pieces[first + i];
        vectors[i] = {const_cast<std::byte*>(piece.data()), piece.size()};
      }
      const ssize_t n = ::pwritev(fd_, vectors.data(), static_cast<int>(count), position);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return system_failure("can't write", path_, errno);
      if (n == 0 && std::any_of(vectors.begin(), vectors.begin() + static_cast<std::ptrdiff_t>(count),
                                [](const iovec& piece) { return piece.iov_len > 0; })) {
        return system_failure("can't write", path_, EIO);
      }
      position += n;
      skip += static_cast<size_t>(n);
      while (first < pieces.size() && skip >= pieces[first].size()) skip -= pieces[first++].size();
    }
    return {};
  }

  Result<> truncate(int64_t size) override {
    if (::ftruncate(fd_, size) != 0) return system_failure("can't truncate", path_, errno);
    return {};
  }

  Result<> sync_data() override {
    if (::fdatasync(fd_) != 0) return sync_failure(*sync_failed_, path_, errno);
    return {};
  }

  Result<int64_t> size() const override {
    struct stat status;
    if (::fstat(fd_, &status) != 0) return system_failure("can't ask the size of", path_, errno);
    return status.st_size;
  }

  Result<Reserved> reserve(int64_t position, int64_t bytes) override {
    int error = 0;
    do {
      error = ::fallocate(fd_, FALLOC_FL_KEEP_SIZE, position, bytes) == 0 ? 0 : errno;
    } while (error == EINTR);
    if (error == ENOSPC || error == EDQUOT || error == EFBIG)
      return system_failure("can't reserve space for", path_, error);
    return error == 0 && keeps_space(position + bytes) ? Reserved::kYes : Reserved::kNo;
  }

  int fd() const override { return fd_; }
  const std::string& path() const override { return path_; }

 private:
  // Whether a write up to `end` finds the space that was set aside for it. Where data is never written in
  // place (Btrfs, ZFS) it may not.
  bool keeps_space(int64_t end) const {
    struct statfs system;
    if (::fstatfs(fd_, &system) != 0) return false;
    const bool writes_in_place =
        system.f_type == EXT4_SUPER_MAGIC || system.f_type == XFS_SUPER_MAGIC || system.f_type == TMPFS_MAGIC;
    rlimit limit;
    return writes_in_place && ::getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
           static_cast<rlim_t>(end) <= limit.rlim_cur;
  }

  const int fd_;
  const std::string path_;
  const std::shared_ptr<const SyncFailed> sync_failed_;
};

}  // namespace

PosixFileSystem::PosixFileSystem(SyncFailed sync_failed)
    : sync_failed_(std::make_shared<const SyncFailed>(std::move(sync_failed))) {}

PosixFileSystem::~PosixFileSystem() {
  if (const int watching = watching_.load(); watching >= 0) ::close(watching);
}

Result<std::shared_ptr<File>> PosixFileSystem::open(const std::string& path, OpenMode mode) {
  int flags = O_CLOEXEC;
  if (mode == OpenMode::kRead) flags |= O_RDONLY;
  if (mode == OpenMode::kReadWrite) flags |= O_RDWR;
  if (mode == OpenMode::kCreate) flags |= O_RDWR | O_CREAT;
  if (mode == OpenMode::kDurable) flags |= O_RDWR | O_DSYNC | O_DIRECT;
  int fd;
  do {
    fd = ::open(path.c_str(), flags, kFileMode);
    // Not every file system lets the page cache be bypassed.
    if (fd < 0 && errno == EINVAL && (flags & O_DIRECT) != 0) {
      flags &= ~O_DIRECT;
      errno = EINTR;
    }
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return system_failure("can't open", path, errno);
  if (is_kept_back(fd, DescriptorUse::kFile)) {
    ::close(fd);
    return system_failure("can't open", path, EMFILE);
  }
  return std::make_shared<PosixFile>(fd, path, sync_failed_);
}

Result<bool> PosixFileSystem::exists(const std::string& path) {
  struct stat status;
  if (::stat(path.c_str(), &status) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  return system_failure("can't look up", path, errno);
}

Result<FileStatus> PosixFileSystem::status(const std::string& path) {
  struct stat status;
  if (::stat(path.c_str(), &status) != 0) return system_failure("can't look up", path, errno);
  return FileStatus{status.st_size,
                    int64_t{status.st_mtim.tv_sec} * 1000 + status.st_mtim.tv_nsec / 1'000'000};
}

Result<std::vector<DirectoryEntry>> PosixFileSystem::list(const std::string& directory) {
  DIR* open_directory = ::opendir(directory.c_str());
  if (open_directory == nullptr) return system_failure("can't list", directory, errno);
  std::vector<DirectoryEntry> entries;
  errno = 0;
  while (const dirent* entry = ::readdir(open_directory)) {
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    bool is_directory = entry->d_type == DT_DIR;
    if (entry->d_type == DT_UNKNOWN || entry->d_type == DT_LNK) {
      struct stat status;
      is_directory = ::stat((directory + "/" + name).c_str(), &status) == 0 && S_ISDIR(status.st_mode);
    }
    entries.push_back({name, is_directory});
    errno = 0;
  }
  const int error = errno;
  ::closedir(open_directory);
  if (error != 0) return system_failure("can't list", directory, error);
  std::sort(entries.begin(), entries.end());
  return entries;
}

Result<> PosixFileSystem::rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    return system_failure("can't rename to " + to + " from", from, errno);
  return {};
}

Result<> PosixFileSystem::remove(const std::string& path) {
  std::error_code error;
  // Again when another thread removes the same tree (shards that each clean up after a deleted topic): what
  // it took from under this one is gone, and that is no error.
  do {
    std::filesystem::remove_all(path, error);
  } while (error == std::errc::no_such_file_or_directory);
  if (error) return system_failure("can't remove", path, error.value());
  return {};
}

Result<> PosixFileSystem::create_directory(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return system_failure("can't create", path, error.value());
  return {};
}

Result<> PosixFileSystem::sync_directory(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return system_failure("can't open", path, errno);
  const int error = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  if (error != 0) return sync_failure(*sync_failed_, path, error);
  return {};
}

Result<> PosixFileSystem::watch_for_failures(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return system_failure("can't open", path, errno);
  if (const int before = watching_.exchange(fd); before >= 0) ::close(before);
  return {};
}

Result<> PosixFileSystem::sync_all(const std::string& path) {
  // syncfs tells only of what failed since the descriptor was opened.
  if (const int watching = watching_.load(); watching >= 0) {
    if (::syncfs(watching) != 0) return sync_failure(*sync_failed_, path, errno);
    return {};
  }
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return system_failure("can't open", path, errno);
  const int error = ::syncfs(fd) == 0 ? 0 : errno;
  ::close(fd);
  if (error != 0) return sync_failure(*sync_failed_, path, error);
  return {};
}

Result<Buffer> read_file(FileSystem& files, const std::string& path, size_t limit) {
  auto file = files.open(path, OpenMode::kRead);
  if (!file) return std::unexpected(file.error());
  const auto size = (*file)->size();
  if (!size) return std::unexpected(size.error());
  if (static_cast<uint64_t>(*size) > limit) {
    return fail(ErrorCode::kKafkaStorageError,
                fmt::format("{} has {} bytes, more than the {} it may have", path, *size, limit));
  }
  Buffer content(static_cast<size_t>(*size));
  const auto read = (*file)->read_at(content, 0);
  if (!read) return std::unexpected(read.error());
  content.resize(*read);
  return content;
}

Result<> replace_file(FileSystem& files, const std::string& path, Bytes content) {
  const std::string temporary = path + ".tmp";
  // A leftover of an earlier crash could be longer than the new content.
  if (auto removed = files.remove(temporary); !removed) return removed;
  auto file = files.open(temporary, OpenMode::kCreate);
  if (!file) return std::unexpected(file.error());
  const Bytes pieces[] = {content};
  if (auto written = (*file)->write_at(pieces, 0); !written) return written;
  if (auto synced = (*file)->sync_data(); !synced) return synced;
  if (auto renamed = files.rename(temporary, path); !renamed) return renamed;
  return files.sync_directory(path.substr(0, path.rfind('/')));
}

}  // namespace millrace::storage
