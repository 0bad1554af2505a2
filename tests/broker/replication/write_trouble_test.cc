#include "broker/replication/write_trouble.h"

#include <catch2/catch.hpp>
#include <cerrno>

#include "storage/file_system.h"
#include "storage/system_error.h"

namespace millrace::replication {
namespace {

// What the storage says of a full disk: /dev/full is one.
Error full_disk() {
  storage::PosixFileSystem files;
  const auto file = files.open("/dev/full", storage::OpenMode::kReadWrite);
  REQUIRE(file);
  const Bytes piece = as_bytes("x");
  const auto written = (*file)->write_at(std::span(&piece, 1), 0);
  REQUIRE_FALSE(written);
  return written.error();
}

TEST_CASE("A full disk is over when writes succeed and none has failed for a while") {
  runtime::ManualClock clock;
  WriteTrouble trouble;
  trouble.succeeded(clock);
  CHECK_FALSE(trouble.disk_is_full());
  trouble.failed(clock, "orders-0", full_disk());
  CHECK(trouble.disk_is_full());
  clock.advance_ms(1000);
  trouble.succeeded(clock);
  CHECK(trouble.disk_is_full());
  trouble.failed(clock, "orders-1", full_disk());
  clock.advance_ms(WriteTrouble::kQuietMs - 1);
  trouble.succeeded(clock);
  CHECK(trouble.disk_is_full());
  clock.advance_ms(1);
  trouble.succeeded(clock);
  CHECK_FALSE(trouble.disk_is_full());
  CHECK(trouble.refused() == 2);
}

TEST_CASE("A file that may not grow any further is a full disk to writers") {
  runtime::ManualClock clock;
  WriteTrouble trouble;
  trouble.failed(clock, "orders-0", storage::system_failure("can't write", "0.log", EFBIG).error());
  CHECK(trouble.disk_is_full());
  CHECK(trouble.refused() == 1);
}

TEST_CASE("A log that is offline is no full disk") {
  runtime::ManualClock clock;
  WriteTrouble trouble;
  trouble.failed(clock, "orders-0",
                 {ErrorCode::kKafkaStorageError, "orders-0 is offline since: it was closed"});
  CHECK_FALSE(trouble.disk_is_full());
}

}  // namespace
}  // namespace millrace::replication
