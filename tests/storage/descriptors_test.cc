#include "storage/descriptors.h"

#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <memory>
#include <vector>

#include "storage/file_system.h"
#include "tests/storage/temporary_directory.h"

namespace millrace::storage {
namespace {

// Until the end of the scope the process may have so many files open.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t limit) {
    REQUIRE(getrlimit(RLIMIT_NOFILE, &before_) == 0);
    const rlimit lower{limit, before_.rlim_max};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &lower) == 0);
  }
  ~DescriptorLimit() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST_CASE("Connections leave descriptors to files, and files to syncs") {
  const DescriptorLimit limit(160);
  CHECK_FALSE(is_kept_back(119, DescriptorUse::kConnection));
  CHECK(is_kept_back(120, DescriptorUse::kConnection));
  CHECK_FALSE(is_kept_back(149, DescriptorUse::kFile));
  CHECK(is_kept_back(150, DescriptorUse::kFile));
}

TEST_CASE("Directories and the file system can be synced while no more files can be opened") {
  const test::TemporaryDirectory directory;
  PosixFileSystem files;
  REQUIRE(files.watch_for_failures(directory.path));
  const DescriptorLimit limit(160);
  std::vector<std::shared_ptr<File>> open;
  while (true) {
    auto file = files.open(directory.path + "/" + std::to_string(open.size()), OpenMode::kCreate);
    if (!file) {
      CHECK(file.error().message.find("ulimit -n") != std::string::npos);
      break;
    }
    open.push_back(std::move(*file));
  }
  CHECK(open.size() > 100);
  CHECK(files.sync_directory(directory.path));
  CHECK(files.sync_all(directory.path));
}

}  // namespace
}  // namespace millrace::storage
