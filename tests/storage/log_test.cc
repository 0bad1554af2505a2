#include "storage/log.h"

#include <catch2/catch.hpp>

#include "tests/storage/log_fixture.h"

namespace millrace::storage {
namespace {

using test::batch_of;
using test::kNow;
using test::LogFixture;
using Offsets = std::vector<int64_t>;

TEST_CASE("An empty log begins and ends at offset 0 and has nothing to read") {
  LogFixture f;
  f.open();
  CHECK(f.log->log_start_offset() == 0);
  CHECK(f.log->log_end_offset() == 0);
  const auto slice = f.log->read(0, 0, 1000, true);
  REQUIRE(slice);
  CHECK(slice->size == 0);
  CHECK(f.log->read(1, 1, 1000, true).error().code == ErrorCode::kOffsetOutOfRange);
  CHECK_FALSE(f.log->max_timestamp()->has_value());
  CHECK_FALSE(f.log->offset_for_timestamp(0)->has_value());
}

TEST_CASE(
    "Batches get offsets and stand on disk byte for byte as the producer sent them, but for offset and "
    "epoch") {
  LogFixture f;
  f.open();
  Buffer sent = batch_of(3);
  CHECK(f.append(batch_of(2), 7).base_offset == 0);
  const AppendInfo info = f.append(sent, 7);
  CHECK(info.base_offset == 2);
  CHECK(info.last_offset == 4);
  CHECK(info.log_append_time_ms == -1);
  CHECK(f.log->log_end_offset() == 5);

  protocol::set_base_offset(sent, 2);
  protocol::set_partition_leader_epoch(sent, 7);
  const auto slice = f.log->read(2, 5, 1000, true);
  REQUIRE(slice);
  CHECK(f.first_offset_of(*slice) == 2);
  CHECK(f.bytes_of(*slice) == sent);
  Buffer first = batch_of(2);
  protocol::set_partition_leader_epoch(first, 7);
  first.insert(first.end(), sent.begin(), sent.end());
  CHECK(f.files.content(f.segment_path(0)) == first);
}

TEST_CASE(
    "A read starts at the batch that holds the offset and ends at a batch boundary below the end offset") {
  LogFixture f;
  f.open();
  f.append(batch_of(5));
  f.append(batch_of(5));
  f.append(batch_of(5));
  const size_t size = batch_of(5).size();
  CHECK(f.first_offset_of(*f.log->read(7, 15, 10'000, true)) == 5);
  CHECK(f.log->read(7, 15, 10'000, true)->size == 2 * size);
  CHECK(f.log->read(7, 10, 10'000, true)->size == size);
  CHECK(f.log->read(7, 14, 10'000, true)->size == size);
  CHECK(f.log->read(7, 9, 10'000, true)->size == 0);
  CHECK(f.log->read(15, 15, 10'000, true)->size == 0);
  CHECK(f.log->read(16, 15, 10'000, true).error().code == ErrorCode::kOffsetOutOfRange);
  CHECK(f.log->read(-1, 15, 10'000, true).error().code == ErrorCode::kOffsetOutOfRange);
}

TEST_CASE("max_bytes cuts the last batch, but the first one comes whole if asked") {
  LogFixture f;
  f.open();
  f.append(batch_of(5));
  f.append(batch_of(5));
  const size_t size = batch_of(5).size();
  CHECK(f.log->read(0, 10, size + 7, true)->size == size + 7);
  CHECK(f.log->read(0, 10, 1, true)->size == size);
  CHECK(f.log->read(0, 10, size - 1, false)->size == 0);
  CHECK(f.log->read(0, 10, size, false)->size == size);
}

TEST_CASE("A full segment makes room for the next, and a slice survives the deletion of its segment") {
  LogFixture f;
  const auto size = static_cast<int32_t>(batch_of(5).size());
  f.options.config.segment_bytes = 2 * size;
  f.options.config.retention_bytes = 2 * size;
  f.open();
  for (int i = 0; i < 5; ++i) f.append(batch_of(5));
  CHECK(f.log->segment_count() == 3);
  CHECK(f.base_offsets() == Offsets{0, 5, 10, 15, 20});
  CHECK(f.log->read(0, 25, 10'000, true)->size == static_cast<size_t>(2 * size));

  const auto slice = f.log->read(0, 25, 10'000, true);
  const Buffer before = f.bytes_of(*slice);
  const auto deleted = test::retain(*f.log, f.files, kNow, 25);
  REQUIRE(deleted);
  CHECK(deleted->by_size == 1);
  CHECK(f.log->log_start_offset() == 10);
  CHECK_FALSE(f.files.has(f.segment_path(0)));
  CHECK(f.bytes_of(*slice) == before);
  CHECK(f.log->read(9, 25, 1, true).error().code == ErrorCode::kOffsetOutOfRange);
}

TEST_CASE("With preallocate a segment has its space until it is full, and then only what it needs") {
  LogFixture f;
  const auto size = static_cast<int32_t>(batch_of(5).size());
  f.options.config.preallocate = true;
  f.options.config.segment_bytes = 2 * size;
  f.open();
  const bool is_changed = GENERATE(true, false);
  f.append(batch_of(5));
  f.append(batch_of(3));
  CHECK(f.files.reserved(f.segment_path(0)) == 2 * size);
  f.options.config.preallocate = !is_changed;
  f.log->set_config(f.options.config);
  const bool fails = GENERATE(true, false);
  f.files.judge = [&](test::Operation operation, const std::string& path) {
    const bool is_it = operation == test::Operation::kTruncate && path == f.segment_path(0);
    return fails && is_it ? test::Verdict::kFail : test::Verdict::kProceed;
  };
  f.append(batch_of(5));
  f.files.judge = nullptr;
  CHECK(f.files.reserved(f.segment_path(0)) == (fails ? 2 * size : 0));
  f.append(batch_of(1));
  f.options.config.preallocate = true;
  f.log->set_config(f.options.config);
  f.append(batch_of(4));
  CHECK(f.files.reserved(f.segment_path(f.log->log_end_offset() - 4)) == 2 * size);
  // Of this one it isn't known any more that it was reserved.
  if (GENERATE(true, false)) f.kill_and_open();
  REQUIRE(f.log->close(kNow));
  CHECK(f.files.reserved(f.segment_path(14)) == 0);
  f.open(true);
  CHECK(f.base_offsets() == Offsets{0, 5, 8, 13, 14});
}

TEST_CASE("A batch larger than a segment is refused") {
  LogFixture f;
  f.options.config.segment_bytes = 100;
  f.open();
  CHECK(f.append_error(batch_of(20)) == ErrorCode::kRecordListTooLarge);
  CHECK(f.log->log_end_offset() == 0);
}

TEST_CASE("A segment rolls when the records' timestamps have advanced by segment.ms") {
  LogFixture f;
  f.options.config.segment_ms = 1000;
  f.open();
  f.append(batch_of(1, kNow));
  f.append(batch_of(1, kNow + 1000));
  CHECK(f.log->segment_count() == 1);
  f.append(batch_of(1, kNow + 1001));
  CHECK(f.log->segment_count() == 2);
  CHECK(f.base_offsets() == Offsets{0, 1, 2});
  // The age counts from the first batch after a restart, too.
  f.kill_and_open();
  f.append(batch_of(1, kNow + 2001));
  CHECK(f.log->segment_count() == 2);
  f.append(batch_of(1, kNow + 2002));
  CHECK(f.log->segment_count() == 3);
}

TEST_CASE("Everything is there after a restart, clean or not, with or without the index") {
  LogFixture f;
  f.options.config.segment_bytes = 500;
  f.options.config.index_interval_bytes = 100;
  f.open();
  for (int i = 0; i < 20; ++i) f.append(batch_of(3, kNow + i), i / 7);
  const Offsets offsets = f.base_offsets();
  REQUIRE(f.log->segment_count() > 4);
  const auto epochs = f.log->leader_epochs().entries();
  REQUIRE(epochs.size() == 3);

  SECTION("clean: no segment is read") {
    f.close_and_open();
    CHECK(f.report.segments_scanned == 0);
    CHECK(f.report.bytes_scanned == 0);
    CHECK(f.report.batches_replayed == 0);
  }
  SECTION("killed: what wasn't synced is scanned") {
    REQUIRE(f.log->flush());
    f.append(batch_of(3, kNow + 20), 2);
    f.kill_and_open();
    CHECK(f.report.segments_scanned <= 2);
    CHECK(f.log->log_end_offset() == 63);
    CHECK(f.log->recovery_point() == 63);
    return;
  }
  SECTION("killed and without the index") {
    f.log.reset();
    f.index = std::move(*OffsetIndex::open_in_memory());
    f.open();
    CHECK(f.report.segments_covered == 0);
  }
  SECTION("without the epochs") {
    REQUIRE(f.log->close(kNow));
    REQUIRE(f.files.remove(f.options.directory + "/leader-epoch-checkpoint"));
    f.open(true);
    CHECK(f.report.notes.size() == 1);
  }
  CHECK(f.report.cuts.empty());
  CHECK(f.base_offsets() == offsets);
  CHECK(f.log->log_end_offset() == 60);
  CHECK(f.log->leader_epochs().entries() == epochs);
  CHECK(f.log->offset_for_timestamp(kNow + 11)->value() == TimestampOffset{kNow + 11, 33, 1});
  CHECK(f.log->max_timestamp()->value() == TimestampOffset{kNow + 19, 57, 2});
}

}  // namespace

TEST_CASE("A log that nobody uses keeps no file open and no index entries, and goes on when it is used") {
  LogFixture f;
  f.options.config.segment_bytes = 5'000;
  f.options.config.index_interval_bytes = 100;
  f.open();
  for (int i = 0; i < 200; ++i) f.append(batch_of(3));
  REQUIRE(f.log->read(30, 600, 1000, true));
  f.log->rest_unused();
  f.log->rest_unused();
  // Not synced: only the descriptor that wrote learns of a failed write-back.
  CHECK(f.files.open_files() > 0);
  REQUIRE(f.log->flush());
  const auto checkpoint = f.log->begin_checkpoint();
  REQUIRE(checkpoint);
  f.log->finish_checkpoint(*checkpoint);
  f.log->rest_unused();
  REQUIRE(f.log->read(599, 600, 1000, true));
  f.log->rest_unused();
  CHECK(f.files.open_files() > 0);
  f.log->rest_unused();
  CHECK(f.files.open_files() == 0);
  f.append(batch_of(3));
  const auto offsets = f.base_offsets();
  REQUIRE(offsets.size() == 201);
  for (size_t i = 0; i < offsets.size(); ++i) CHECK(offsets[i] == static_cast<int64_t>(3 * i));
  f.close_and_open();
  CHECK(f.base_offsets() == offsets);
}

}  // namespace millrace::storage
