// Preloaded into a broker under test: syncs wait or fail as the file named by MILLRACE_SYNC_FAULT says, which
// may hold "wait", "fail" or nothing. Writes to files that were opened with O_DSYNC count as syncs.
//
//   c++ -shared -fPIC -o faulty_sync.so faulty_sync.cc -ldl
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>

namespace {

constexpr useconds_t kPollUs = 5000;

template <class F>
F* real(const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}

std::string fault() {
  static const char* const path = std::getenv("MILLRACE_SYNC_FAULT");
  const int fd = path == nullptr ? -1 : open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  char text[8];
  const ssize_t size = read(fd, text, sizeof text);
  close(fd);
  const std::string said(text, size > 0 ? static_cast<size_t>(size) : 0);
  return said.substr(0, said.find('\n'));
}

// Returns whether the sync goes on.
bool may_sync() {
  while (fault() == "wait") usleep(kPollUs);
  if (fault() != "fail") return true;
  errno = EIO;
  return false;
}

bool writes_are_synced(int fd) { return (fcntl(fd, F_GETFL) & O_DSYNC) != 0; }

}  // namespace

extern "C" {

int fsync(int fd) { return may_sync() ? real<int(int)>("fsync")(fd) : -1; }
int fdatasync(int fd) { return may_sync() ? real<int(int)>("fdatasync")(fd) : -1; }
int syncfs(int fd) noexcept { return may_sync() ? real<int(int)>("syncfs")(fd) : -1; }

ssize_t pwritev(int fd, const iovec* pieces, int count, off_t position) {
  if (writes_are_synced(fd) && !may_sync()) return -1;
  return real<ssize_t(int, const iovec*, int, off_t)>("pwritev")(fd, pieces, count, position);
}

ssize_t pwritev64(int fd, const iovec* pieces, int count, off64_t position) {
  if (writes_are_synced(fd) && !may_sync()) return -1;
  return real<ssize_t(int, const iovec*, int, off64_t)>("pwritev64")(fd, pieces, count, position);
}

ssize_t pwrite(int fd, const void* bytes, size_t size, off_t position) {
  if (writes_are_synced(fd) && !may_sync()) return -1;
  return real<ssize_t(int, const void*, size_t, off_t)>("pwrite")(fd, bytes, size, position);
}

}  // extern "C"
