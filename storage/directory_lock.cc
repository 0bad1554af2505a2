#include "storage/directory_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "storage/system_error.h"

namespace millrace::storage {
namespace {

std::string owner_of(int fd) {
  char text[32] = {};
  const ssize_t n = ::pread(fd, text, sizeof text - 1, 0);
  std::string owner(text, n > 0 ? static_cast<size_t>(n) : 0);
  while (!owner.empty() && owner.back() == '\n') owner.pop_back();
  return owner.empty() ? "unknown" : owner;
}

}  // namespace

Result<std::unique_ptr<DirectoryLock>> DirectoryLock::take(const std::string& directory) {
  const std::string path = directory + "/.lock";
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return system_failure("can't open", path, errno);
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    const std::string owner = owner_of(fd);
    ::close(fd);
    if (error != EWOULDBLOCK) return system_failure("can't lock", path, error);
    return fail(ErrorCode::kKafkaStorageError, fmt::format("the data directory {} belongs to another running "
                                                           "broker (pid {}); stop that one, or give this one "
                                                           "another directory",
                                                           directory, owner));
  }
  const std::string pid = fmt::format("{}\n", ::getpid());
  // Only for the message above: a lock without its owner's pid is a lock, too.
  if (::ftruncate(fd, 0) == 0 && ::pwrite(fd, pid.data(), pid.size(), 0) < 0) errno = 0;
  return std::unique_ptr<DirectoryLock>(new DirectoryLock(fd));
}

std::optional<std::string> DirectoryLock::owner(const std::string& directory) {
  const int fd = ::open((directory + "/.lock").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  std::optional<std::string> owner;
  if (::flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK) owner = owner_of(fd);
  ::close(fd);
  return owner;
}

DirectoryLock::~DirectoryLock() { ::close(fd_); }

}  // namespace millrace::storage
