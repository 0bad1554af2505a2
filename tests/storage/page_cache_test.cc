// Against the kernel itself: what was dropped from memory isn't there, what was loaded is.
#include "storage/page_cache.h"

#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>

#include "storage/file_system.h"
#include "tests/storage/temporary_directory.h"

using namespace millrace;
using namespace millrace::storage;
using namespace millrace::storage::test;

namespace {

struct TestFile {
  TemporaryDirectory directory;
  std::shared_ptr<File> file;
  Buffer content;

  explicit TestFile(size_t size) : content(size) {
    file = *PosixFileSystem().open(directory.path + "/file", OpenMode::kCreate);
    for (size_t i = 0; i < size; ++i) content[i] = static_cast<std::byte>(i * 2654435761u >> 13);
    const Bytes pieces[] = {content};
    REQUIRE(file->write_at(pieces, 0));
    REQUIRE(file->sync_data());
  }
  // False on a file system that keeps everything in memory.
  bool drop() {
    REQUIRE(::posix_fadvise(file->fd(), 0, 0, POSIX_FADV_DONTNEED) == 0);
    return !file->is_cached(0, content.size());
  }
};

}  // namespace

TEST_CASE("What was just written is cached, what was dropped isn't until it is loaded", "[page_cache]") {
  TestFile f(3'000'000);
  CHECK(f.file->is_cached(0, f.content.size()));
  CHECK(f.file->is_cached(2'999'999, 1));
  CHECK(f.file->is_cached(0, 0));
  if (!f.drop()) return;
  REQUIRE(f.file->load(1'000'001, 500'000, 0));
  CHECK(f.file->is_cached(1'000'001, 500'000));
  CHECK_FALSE(f.file->is_cached(0, f.content.size()));
  REQUIRE(f.file->load(0, f.content.size(), 1 << 20));
  CHECK(f.file->is_cached(0, f.content.size()));
}

TEST_CASE("Cached bytes are read up to the first that isn't there", "[page_cache]") {
  TestFile f(200'000);
  Buffer out(150'000);
  REQUIRE(*f.file->read_cached(out, 50'000) == out.size());
  CHECK(std::equal(out.begin(), out.end(), f.content.begin() + 50'000));
  CHECK(*f.file->read_cached(out, 199'990) == 10);
  if (!f.drop()) return;
  REQUIRE(f.file->load(0, 100'000, 0));
  const auto read = f.file->read_cached(out, 50'000);
  REQUIRE(read);
  CHECK(*read >= 50'000);
  CHECK(std::equal(out.begin(), out.begin() + 50'000, f.content.begin() + 50'000));
}

TEST_CASE("Loading beyond the end of a file is no error", "[page_cache]") {
  TestFile f(10'000);
  CHECK(f.file->load(5'000, 1 << 20, 1 << 20));
  CHECK(f.file->load(50'000, 10, 0));
}
