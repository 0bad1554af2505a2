#include "storage/system_error.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

#include "storage/file_system.h"

namespace millrace::storage {
namespace {

constexpr std::string_view kFullDiskAdvice = "; free disk space or lower the topics' retention";
constexpr std::string_view kFileSizeAdvice =
    "; raise the process's limit of file sizes (ulimit -f, LimitFSIZE) above log.segment.bytes, and above "
    "the "
    "8 MiB of a journal file";

std::string_view advice(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return kFullDiskAdvice;
    case EFBIG:
      return kFileSizeAdvice;
    case EMFILE:
    case ENFILE:
      return "; raise the limit of open files (ulimit -n)";
    case EACCES:
    case EPERM:
      return "; check the owner and the mode of the data directory";
    case EROFS:
      return "; the file system is mounted read-only, often after a disk error: see the kernel's log";
    case EIO:
      return "; the disk failed: see the kernel's log";
    default:
      return "";
  }
}

}  // namespace

std::unexpected<Error> system_failure(std::string_view operation, const std::string& path, int error) {
  return fail(ErrorCode::kKafkaStorageError,
              fmt::format("{} {}: {}{}", operation, path, std::strerror(error), advice(error)));
}

bool is_at_file_size_limit(const Error& error) {
  return error.message.find(kFileSizeAdvice) != std::string::npos;
}

bool is_full_disk(const Error& error) {
  return error.message.find(kFullDiskAdvice) != std::string::npos || is_at_file_size_limit(error);
}

}  // namespace millrace::storage
