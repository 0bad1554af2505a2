#include "storage/page_cache.h"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <memory>
#include <optional>

namespace millrace::storage::page_cache {
namespace {

constexpr size_t kPageBytes = 4096;
// Read at a time where pages can't be waited for without a copy: a buffer that stays in the processor's
// cache.
constexpr size_t kLoadPieceBytes = 128 << 10;
// Between the bytes that are looked at where the kernel can't count pages.
constexpr size_t kSampleBytes = 64 << 10;

// The system call cachestat, of Linux 6.5, which Debian 12's headers don't know.
constexpr long kCachestat = 451;
struct CachestatRange {
  uint64_t offset;
  uint64_t length;
};
struct Cachestat {
  uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

// Once the kernel has refused a call it isn't asked again.
std::atomic<bool> can_read_nowait = true;
std::atomic<bool> can_count = true;

bool is_refusal(int error) { return error == EOPNOTSUPP || error == ENOSYS; }

// Whether all pages of the range are there, if perhaps still being read; nothing when the kernel can't tell.
std::optional<bool> counted(int fd, int64_t position, size_t size) {
  if (!can_count.load(std::memory_order_relaxed)) return std::nullopt;
  const uint64_t first = static_cast<uint64_t>(position) / kPageBytes;
  const uint64_t last = (static_cast<uint64_t>(position) + size - 1) / kPageBytes;
  CachestatRange range{first * kPageBytes, (last - first + 1) * kPageBytes};
  Cachestat stat{};
  if (::syscall(kCachestat, fd, &range, &stat, 0) == 0) return stat.cached >= last - first + 1;
  if (errno == ENOSYS || errno == EPERM) can_count.store(false, std::memory_order_relaxed);
  return std::nullopt;
}

bool has_byte(int fd, int64_t position) {
  std::byte byte;
  return read_cached(fd, MutableBytes(&byte, 1), position) != 0;
}

int read_through(int fd, int64_t position, size_t size) {
  const auto buffer = std::make_unique_for_overwrite<std::byte[]>(std::min(size, kLoadPieceBytes));
  while (size > 0) {
    const ssize_t n = ::pread(fd, buffer.get(), std::min(size, kLoadPieceBytes), position);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) break;
    position += n;
    size -= static_cast<size_t>(n);
  }
  return 0;
}

}  // namespace

ssize_t read_cached(int fd, MutableBytes out, int64_t position) {
  while (true) {
    ssize_t n = -1;
    if (can_read_nowait.load(std::memory_order_relaxed)) {
      iovec vector{out.data(), out.size()};
      n = ::preadv2(fd, &vector, 1, position, RWF_NOWAIT);
      if (n < 0 && errno == EAGAIN) return 0;
      if (n < 0 && is_refusal(errno)) {
        can_read_nowait.store(false, std::memory_order_relaxed);
        continue;
      }
    } else {
      n = ::pread(fd, out.data(), out.size(), position);
    }
    if (n >= 0 || errno != EINTR) return n;
  }
}

bool is_cached(int fd, int64_t position, size_t size) {
  if (size == 0) return true;
  const int64_t last = position + static_cast<int64_t>(size) - 1;
  // Within one page one byte tells. Counting comes first elsewhere: to ask for a byte that is missing starts
  // to read it.
  if (position / static_cast<int64_t>(kPageBytes) == last / static_cast<int64_t>(kPageBytes)) {
    return has_byte(fd, last);
  }
  // A page that is being read is there, but not to be had yet. Pages are read in order, so the last one tells
  // of all.
  if (const auto all = counted(fd, position, size)) return *all && has_byte(fd, last);
  for (int64_t at = position; at < last; at += kSampleBytes) {
    if (!has_byte(fd, at)) return false;
  }
  return true;
}

int load(int fd, int64_t position, size_t size, size_t ahead) {
  if (size + ahead > kLoadPieceBytes) {
    // Only a hint: without it the reads below are a little slower.
    (void)::posix_fadvise(fd, position, static_cast<off_t>(size + ahead), POSIX_FADV_WILLNEED);
  }
  // Sent to nowhere, the pages are waited for and not copied.
  static const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  off_t at = position;
  while (size > 0) {
    const ssize_t n = ::sendfile(nowhere, fd, &at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EINVAL || errno == EBADF)) return read_through(fd, at, size);
    if (n < 0) return errno;
    if (n == 0) break;
    size -= static_cast<size_t>(n);
  }
  return 0;
}

}  // namespace millrace::storage::page_cache
