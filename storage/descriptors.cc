#include "storage/descriptors.h"

#include <sys/resource.h>

namespace millrace::storage {

bool is_kept_back(int fd, DescriptorUse use) {
  rlimit limit{};
  if (fd < 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0) return false;
  const rlim_t kept = use == DescriptorUse::kFile ? limit.rlim_cur / 16 : limit.rlim_cur / 4;
  return static_cast<rlim_t>(fd) >= limit.rlim_cur - kept;
}

}  // namespace millrace::storage
