#include "storage/file_system.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <thread>

#include "tests/storage/temporary_directory.h"

namespace millrace::storage {
namespace {

using test::TemporaryDirectory;

TEST_CASE("Files: written in pieces, read, cut, listed, renamed, removed") {
  PosixFileSystem files;
  TemporaryDirectory directory;
  const std::string path = directory.path + "/a/b/one";
  REQUIRE(files.create_directory(directory.path + "/a/b"));
  REQUIRE(files.create_directory(directory.path + "/a/b"));
  CHECK_FALSE(files.open(path, OpenMode::kReadWrite));
  auto file = files.open(path, OpenMode::kCreate);
  REQUIRE(file);
  // More pieces than go into one call, some of them empty.
  std::vector<Bytes> pieces;
  for (int i = 0; i < 300; ++i) pieces.push_back(as_bytes(i % 3 == 0 ? "" : "xy"));
  REQUIRE((*file)->write_at(pieces, 5));
  CHECK(*(*file)->size() == 405);
  Buffer content(500);
  CHECK(*(*file)->read_at(content, 5) == 400);
  CHECK(as_text(Bytes(content).first(4)) == "xyxy");
  CHECK(*(*file)->read_at(content, 405) == 0);
  REQUIRE((*file)->truncate(7));
  const auto reserved = (*file)->reserve(4'096, 1'000'000);
  REQUIRE(reserved);
  struct stat status;
  REQUIRE(::stat(path.c_str(), &status) == 0);
  CHECK((*reserved == Reserved::kNo || status.st_blocks * 512 >= 1'000'000));
  REQUIRE((*file)->sync_data());
  CHECK(files.status(path)->size == 7);
  REQUIRE(files.rename(path, directory.path + "/a/b/two"));
  REQUIRE(files.sync_directory(directory.path + "/a/b"));
  CHECK(*files.list(directory.path + "/a/b") == std::vector<DirectoryEntry>{{"two", false}});
  CHECK(*files.list(directory.path) == std::vector<DirectoryEntry>{{"a", true}});
  // Open files outlive their names.
  REQUIRE(files.remove(directory.path + "/a"));
  CHECK_FALSE(*files.exists(directory.path + "/a"));
  CHECK(*(*file)->size() == 7);
  REQUIRE(files.remove(directory.path + "/a"));
}

TEST_CASE("Two who remove one tree at once both succeed") {
  PosixFileSystem files;
  TemporaryDirectory directory;
  const std::string tree = directory.path + "/tree";
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 50; ++i) {
      const std::string path = tree + "/" + std::to_string(i);
      REQUIRE(files.create_directory(path));
      REQUIRE(files.open(path + "/file", OpenMode::kCreate));
    }
    Result<> other = fail(ErrorCode::kUnknownServerError);
    std::thread thread([&] { other = files.remove(tree); });
    const Result<> mine = files.remove(tree);
    thread.join();
    CHECK(mine);
    CHECK(other);
    REQUIRE_FALSE(*files.exists(tree));
  }
}

TEST_CASE("Errors name the path, the reason and what to do") {
  PosixFileSystem files;
  const auto opened = files.open("/dev/full", OpenMode::kReadWrite);
  REQUIRE(opened);
  const Bytes pieces[] = {as_bytes("x")};
  const auto written = (*opened)->write_at(pieces, 0);
  REQUIRE_FALSE(written);
  CHECK(written.error().code == ErrorCode::kKafkaStorageError);
  CHECK(written.error().message ==
        "can't write /dev/full: No space left on device; free disk space or lower the topics' retention");
  CHECK_FALSE(files.list("/nonexistent"));
  CHECK_FALSE(files.status("/nonexistent"));
}

TEST_CASE("A replaced file has the new content, whatever was left behind by an earlier try") {
  PosixFileSystem files;
  TemporaryDirectory directory;
  const std::string path = directory.path + "/file";
  REQUIRE(replace_file(files, path + ".tmp", as_bytes("a long leftover")));
  REQUIRE(replace_file(files, path, as_bytes("old")));
  REQUIRE(replace_file(files, path, as_bytes("new")));
  CHECK(as_text(*read_file(files, path, 3)) == "new");
  CHECK_FALSE(read_file(files, path, 2));
  CHECK(files.list(directory.path)->size() == 1);
}

TEST_CASE("Whoever made the file system is told of each sync that fails") {
  std::vector<std::string> told;
  PosixFileSystem files([&](const Error& error) { told.push_back(error.message); });
  TemporaryDirectory directory;
  auto sound = files.open(directory.path + "/sound", OpenMode::kCreate);
  REQUIRE(sound);
  REQUIRE((*sound)->sync_data());
  REQUIRE(files.sync_directory(directory.path));
  CHECK(told.empty());
  // A device that can't be synced.
  auto device = files.open("/dev/null", OpenMode::kReadWrite);
  REQUIRE(device);
  CHECK_FALSE((*device)->sync_data());
  CHECK(told == std::vector<std::string>{"can't sync /dev/null: Invalid argument"});
}

}  // namespace
}  // namespace millrace::storage
