// Lookups that mustn't wait for the disk, and lookups that need not look at all.
#include <catch2/catch.hpp>

#include "tests/storage/cold_file_system.h"
#include "tests/storage/log_fixture.h"

using namespace millrace;
using namespace millrace::storage;
using namespace millrace::storage::test;

namespace {

struct ColdLog : BasicLogFixture<ColdFileSystem<FaultFileSystem>> {
  int rounds = 0;

  // Looks until nothing is missing, as a shard does, which has another thread load in between.
  template <class Look>
  auto look_up(Look look) {
    MissingData missing;
    while (true) {
      missing.look_again();
      auto found = look(&missing);
      if (!missing) return found;
      CHECK(found.error().code == ErrorCode::kOperationNotAttempted);
      REQUIRE(++rounds < 100'000);
      REQUIRE(missing.load());
    }
  }
  int64_t append_batches(int count) {
    for (int i = 0; i < count; ++i) append(batch_of(3, kNow + i));
    return log->log_end_offset();
  }
};

}  // namespace

TEST_CASE("A cold lookup finds what a warm one finds and never waits for the disk", "[cold]") {
  ColdLog f;
  f.options.config.segment_bytes = 20'000;
  f.options.config.index_interval_bytes = GENERATE(200, 4096);
  f.open();
  const int64_t end = f.append_batches(1000);
  REQUIRE(f.log->segment_count() > 5);
  f.close_and_open();
  std::vector<std::pair<int64_t, size_t>> places;
  std::vector<std::optional<TimestampOffset>> times;
  for (int64_t offset = 0; offset < end; offset += 7) {
    const auto slice = f.log->read(offset, end - 5, 1000, true);
    REQUIRE(slice);
    places.emplace_back(slice->position, slice->size);
    times.push_back(*f.log->offset_for_timestamp(kNow + offset / 3));
  }
  const auto latest = *f.log->max_timestamp();

  f.close_and_open();
  REQUIRE(f.index->flush());
  f.files.disk.drop_caches();
  const size_t waited_before = f.files.disk.waiters().size();
  for (int64_t offset = 0; offset < end; offset += 7) {
    const auto slice =
        f.look_up([&](MissingData* missing) { return f.log->read(offset, end - 5, 1000, true, missing); });
    REQUIRE(slice);
    CHECK(std::pair(slice->position, slice->size) == places[static_cast<size_t>(offset) / 7]);
    const auto time = f.look_up(
        [&](MissingData* missing) { return f.log->offset_for_timestamp(kNow + offset / 3, missing); });
    REQUIRE(time);
    CHECK(*time == times[static_cast<size_t>(offset) / 7]);
  }
  CHECK(*f.look_up([&](MissingData* missing) { return f.log->max_timestamp(missing); }) == latest);
  CHECK(f.rounds > 5);
  CHECK(f.files.disk.waiters().size() == waited_before);
}

TEST_CASE("A search by time begins where the log does, not at what was deleted", "[cold]") {
  ColdLog f;
  f.options.config.index_interval_bytes = 200;
  f.open();
  const int64_t end = f.append_batches(5000);
  REQUIRE(f.log->delete_records(end - 10) == end - 10);
  const int reads = f.files.disk.reads();
  const auto found = f.log->offset_for_timestamp(kNow);
  REQUIRE((found && *found));
  CHECK((*found)->offset == end - 10);
  CHECK(f.files.disk.reads() - reads < 10);
}

TEST_CASE("A search by time through much of a segment isn't made by who must not wait", "[cold]") {
  ColdLog f;
  f.open();
  f.append(batch_of(3, kNow + 10));
  f.append_batches(5);
  for (int i = 0; i < 5000; ++i) f.append(batch_of(3, kNow));
  const int64_t end = f.log->log_end_offset();
  if (GENERATE(true, false)) f.append(batch_of(3, kNow + 9));
  const bool has_one = f.log->log_end_offset() > end;
  REQUIRE(f.log->delete_records(18) == 18);
  if (GENERATE(true, false)) f.files.disk.drop_caches();
  const size_t waited_before = f.files.disk.waiters().size();
  int most_reads = 0;
  const auto found = f.look_up([&](MissingData* missing) {
    const int before = f.files.disk.reads();
    const auto look = f.log->offset_for_timestamp(kNow + 8, missing);
    most_reads = std::max(most_reads, f.files.disk.reads() - before);
    return look;
  });
  REQUIRE(found);
  CHECK((*found ? (*found)->offset : -1) == (has_one ? end : -1));
  CHECK(most_reads < 50);
  CHECK(f.rounds < 8);
  CHECK(f.files.disk.waiters().size() == waited_before);
}

TEST_CASE("Who may wait for the disk waits instead of failing", "[cold]") {
  ColdLog f;
  f.open();
  const int64_t end = f.append_batches(10);
  f.close_and_open();
  f.files.disk.drop_caches();
  REQUIRE(f.log->read(4, end, 1000, true));
  CHECK(f.files.disk.waiters().size() > 0);
}

TEST_CASE("Readers at the end of the log need neither index nor file to find their place", "[cold]") {
  ColdLog f;
  f.open();
  f.append_batches(5);
  int64_t next = 9;
  REQUIRE(f.log->read(next, 15, 1 << 20, true));
  next = 15;
  const int reads = f.files.disk.reads();
  for (int i = 0; i < 100; ++i) {
    // The high watermark lags behind by a few batches, and one that moved on is shown step by step.
    const int64_t high_watermark = f.append_batches(4) - 3 * (i % 3);
    const auto slice = f.log->read(next, high_watermark, 1 << 20, true);
    REQUIRE(slice);
    REQUIRE(slice->size > 0);
    next = high_watermark;
  }
  CHECK(f.files.disk.reads() == reads);
}

TEST_CASE("What was known of a file's end is forgotten when the end is cut off", "[cold]") {
  ColdLog f;
  f.open();
  f.append_batches(20);
  REQUIRE(f.log->read(30, 45, 1 << 20, true));
  REQUIRE(f.log->truncate_to(30, kNow));
  f.append(batch_of({kNow, kNow, kNow}, 700));
  f.append(batch_of({kNow, kNow, kNow}, 300));
  const auto slice = f.log->read(33, 36, 1 << 20, true);
  REQUIRE(slice);
  CHECK(f.first_offset_of(*slice) == 33);
  CHECK(slice->position + static_cast<int64_t>(slice->size) == f.log->size_bytes());
}
