#include "storage/retention.h"

#include <catch2/catch.hpp>

#include "tests/storage/log_fixture.h"

namespace millrace::storage {
namespace {

using test::batch_of;
using test::kNow;
using test::LogFixture;

const std::vector<SegmentFacts> kSegments = {
    {0, 10, 100, 1000}, {10, 20, 100, 2000}, {20, 30, 100, 3000}, {30, 40, 50, 4000}};

LogConfig limits(int64_t retention_ms, int64_t retention_bytes) {
  LogConfig config;
  config.retention_ms = retention_ms;
  config.retention_bytes = retention_bytes;
  return config;
}

TEST_CASE("Segments go by time, from the oldest on, once the limit has passed") {
  CHECK(choose_expired(kSegments, limits(1000, -1), 0, 40, 2000).by_time == 0);
  CHECK(choose_expired(kSegments, limits(1000, -1), 0, 40, 2001).by_time == 1);
  CHECK(choose_expired(kSegments, limits(1000, -1), 0, 40, 4001).by_time == 3);
  CHECK(choose_expired(kSegments, limits(1000, -1), 0, 40, 5001).by_time == 4);
  CHECK(choose_expired(kSegments, limits(-1, -1), 0, 40, 1'000'000).count() == 0);
  // A young one in front protects those behind.
  const std::vector<SegmentFacts> mixed = {{0, 10, 100, 9000}, {10, 20, 100, 1000}};
  CHECK(choose_expired(mixed, limits(1000, -1), 0, 20, 9000).count() == 0);
}

TEST_CASE("Segments go by size as long as what is left is not below the limit") {
  CHECK(choose_expired(kSegments, limits(-1, 350), 0, 40, 0).by_size == 0);
  CHECK(choose_expired(kSegments, limits(-1, 251), 0, 40, 0).by_size == 0);
  CHECK(choose_expired(kSegments, limits(-1, 250), 0, 40, 0).by_size == 1);
  CHECK(choose_expired(kSegments, limits(-1, 50), 0, 40, 0).by_size == 3);
  CHECK(choose_expired(kSegments, limits(-1, 0), 0, 40, 0).by_size == 4);
  const auto both = choose_expired(kSegments, limits(1000, 150), 0, 40, 2001);
  CHECK(both.by_time == 1);
  CHECK(both.by_size == 1);
  CHECK(both.bytes == 200);
}

TEST_CASE("Segments below the start offset go under any policy; nothing at the high watermark does") {
  LogConfig compacted = limits(0, 0);
  compacted.delete_old = false;
  CHECK(choose_expired(kSegments, compacted, 20, 40, 1'000'000).by_start_offset == 2);
  CHECK(choose_expired(kSegments, compacted, 19, 40, 1'000'000).by_start_offset == 1);
  CHECK(choose_expired(kSegments, compacted, 40, 40, 1'000'000).by_start_offset == 3);
  CHECK(choose_expired(kSegments, limits(0, 0), 0, 29, 1'000'000).count() == 2);
  CHECK(choose_expired(kSegments, limits(0, 0), 0, 9, 1'000'000).count() == 0);
}

TEST_CASE("An empty active segment stays") {
  const std::vector<SegmentFacts> segments = {{0, 10, 100, 1000}, {10, 10, 0, 1000}};
  CHECK(choose_expired(segments, limits(1, 0), 0, 10, 1'000'000).count() == 1);
}

TEST_CASE("A timestamp in the future doesn't keep a segment: its last write counts") {
  CHECK(retention_timestamp_ms(500, 900, 1000) == 500);
  CHECK(retention_timestamp_ms(1000, 900, 1000) == 1000);
  CHECK(retention_timestamp_ms(1001, 900, 1000) == 900);
  CHECK(retention_timestamp_ms(-1, 900, 1000) == 900);

  const bool restarted = GENERATE(false, true);
  LogFixture f;
  f.options.config.timestamp_after_max_ms = LogConfig::kNever;
  f.options.config.retention_ms = 1000;
  f.files.now_ms = kNow;
  f.open();
  f.append(batch_of(3, kNow * 1000));
  if (restarted) f.close_and_open();
  CHECK(test::retain(*f.log, f.files, kNow + 1000, 3)->count() == 0);
  CHECK(test::retain(*f.log, f.files, kNow + 1001, 3)->by_time == 1);
  CHECK(f.log->log_start_offset() == 3);
  CHECK(f.log->log_end_offset() == 3);
  CHECK(f.append(batch_of(1), 0, kNow + 1001).base_offset == 3);
}

TEST_CASE("The active segment is rolled and deleted, and offsets go on after a restart") {
  LogFixture f;
  f.options.config.retention_ms = 1000;
  f.open();
  f.append(batch_of(5), 4);
  CHECK(test::retain(*f.log, f.files, kNow + 2000, 4)->count() == 0);
  CHECK(test::retain(*f.log, f.files, kNow + 2000, 5)->count() == 1);
  f.kill_and_open();
  CHECK(f.log->log_start_offset() == 5);
  CHECK(f.log->log_end_offset() == 5);
  CHECK(f.log->segment_count() == 1);
  CHECK(f.append(batch_of(5), 4).base_offset == 5);
}

}  // namespace
}  // namespace millrace::storage
