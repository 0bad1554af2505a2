#include "storage/descriptors.h"

#include <sys/resource.h>

#include <atomic>

namespace millrace::storage {
namespace {

std::atomic<bool> scarce = false;

}  // namespace

bool is_kept_back(int fd, DescriptorUse use) {
  rlimit limit{};
  if (fd < 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0) return false;
  const rlim_t kept = use == DescriptorUse::kFile ? limit.rlim_cur / 16 : limit.rlim_cur / 4;
  const auto used = static_cast<rlim_t>(fd);
  scarce.store(used >= limit.rlim_cur / 2, std::memory_order_relaxed);
  return used >= limit.rlim_cur - kept;
}

bool descriptors_are_scarce() { return scarce.load(std::memory_order_relaxed); }

}  // namespace millrace::storage
