// What of a file is in memory (the kernel's page cache), and how to get it there: the system calls behind
// File::read_cached, is_cached and load. Where the kernel or the file system can't tell, everything counts as
// cached: reading is then no worse than without these calls.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "protocol/bytes.h"

namespace millrace::storage::page_cache {

// As pread, of what is in memory: the bytes read, fewer where the rest would have to come from the disk. -1
// with errno.
ssize_t read_cached(int fd, MutableBytes out, int64_t position);

// Whether the range, of at most a few MiB and within the file, is in memory: one or two system calls that
// don't copy anything.
bool is_cached(int fd, int64_t position, size_t size);

// Reads the range into memory, in pieces, and returns once it is there; asks the kernel first to read on for
// `ahead` bytes behind it. Blocks. 0, or errno.
int load(int fd, int64_t position, size_t size, size_t ahead);

}  // namespace millrace::storage::page_cache
