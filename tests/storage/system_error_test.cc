#include "storage/system_error.h"

#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <csignal>

#include "storage/directory_lock.h"
#include "storage/file_system.h"
#include "tests/storage/temporary_directory.h"

namespace millrace::storage {
namespace {

bool says(const Error& error, std::string_view what) { return error.message.find(what) != std::string::npos; }

TEST_CASE("What the system refuses has the advice that belongs to it") {
  const auto message = [](int error) { return system_failure("can't open", "/data/.lock", error).error(); };
  CHECK(message(ENOENT).message == "can't open /data/.lock: No such file or directory");
  CHECK(says(message(EACCES), "the owner and the mode"));
  CHECK(says(message(EROFS), "mounted read-only"));
  CHECK_FALSE(says(message(EROFS), "the owner and the mode"));
  for (const int error : {ENOSPC, EDQUOT, EFBIG}) CHECK(is_full_disk(message(error)));
  for (const int error : {EIO, EROFS, EMFILE}) CHECK_FALSE(is_full_disk(message(error)));
  CHECK(is_at_file_size_limit(message(EFBIG)));
  CHECK_FALSE(is_at_file_size_limit(message(ENOSPC)));
}

TEST_CASE("A lock that can't be made has the advice that belongs to the reason") {
  const auto taken = DirectoryLock::take("/nonexistent/directory");
  REQUIRE_FALSE(taken);
  CHECK(taken.error().message == "can't open /nonexistent/directory/.lock: No such file or directory");
}

TEST_CASE("A file that may not grow any further is like a full disk") {
  PosixFileSystem files;
  const test::TemporaryDirectory directory;
  const auto file = files.open(directory.path + "/0.log", OpenMode::kCreate);
  REQUIRE(file);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  const rlimit lower{5, before.rlim_max};
  REQUIRE(setrlimit(RLIMIT_FSIZE, &lower) == 0);
  const Bytes piece = as_bytes("more than five");
  const auto written = (*file)->write_at(std::span(&piece, 1), 0);
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  REQUIRE_FALSE(written);
  CHECK(is_full_disk(written.error()));
  CHECK(says(written.error(), "LimitFSIZE"));
}

}  // namespace
}  // namespace millrace::storage
