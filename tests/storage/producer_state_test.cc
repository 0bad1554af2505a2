#include "storage/producer_state.h"

#include <catch2/catch.hpp>
#include <limits>

#include "tests/storage/log_fixture.h"

namespace millrace::storage {
namespace {

using test::idempotent_batch;
using test::kNow;
using test::LogFixture;

constexpr int32_t kLastSequence = std::numeric_limits<int32_t>::max();

TEST_CASE(
    "Sequences go on by one; gaps, repeats out of the window and old epochs are refused as Kafka does") {
  LogFixture f;
  f.open();
  f.append(idempotent_batch(7, 1, 0, 3));
  f.append(idempotent_batch(7, 1, 3, 1));
  CHECK(f.append_error(idempotent_batch(7, 1, 5)) == ErrorCode::kOutOfOrderSequenceNumber);
  CHECK(f.append_error(idempotent_batch(7, 1, 2)) == ErrorCode::kOutOfOrderSequenceNumber);
  CHECK(f.append_error(idempotent_batch(7, 0, 4)) == ErrorCode::kInvalidProducerEpoch);
  CHECK(f.append_error(idempotent_batch(7, 2, 4)) == ErrorCode::kOutOfOrderSequenceNumber);
  CHECK(f.log->log_end_offset() == 4);
  f.append(idempotent_batch(7, 2, 0));
  CHECK(f.append_error(idempotent_batch(7, 1, 4)) == ErrorCode::kInvalidProducerEpoch);
  CHECK(f.log->log_end_offset() == 5);
}

TEST_CASE("A repeat of one of the last five batches is answered with the first's offsets") {
  LogFixture f;
  f.open();
  for (int i = 0; i < 6; ++i) f.append(idempotent_batch(7, 0, 2 * i, 2));
  for (int i = 1; i < 6; ++i) {
    const AppendInfo info = f.append(idempotent_batch(7, 0, 2 * i, 2));
    CHECK(info.duplicate);
    CHECK(info.base_offset == 2 * i);
    CHECK(info.last_offset == 2 * i + 1);
  }
  CHECK(f.append_error(idempotent_batch(7, 0, 0, 2)) == ErrorCode::kOutOfOrderSequenceNumber);
  // Other bounds than the first time: not a repeat.
  CHECK(f.append_error(idempotent_batch(7, 0, 10, 1)) == ErrorCode::kOutOfOrderSequenceNumber);
  CHECK(f.log->log_end_offset() == 12);
}

TEST_CASE("An unknown producer may begin anywhere, and sequences wrap around at the largest int32") {
  LogFixture f;
  f.open();
  f.append(idempotent_batch(7, 0, kLastSequence - 1, 2));
  f.append(idempotent_batch(7, 0, 0));
  f.append(idempotent_batch(8, 3, kLastSequence, 3));
  CHECK(f.log->producers().find(8)->last_sequence() == 1);
  CHECK(f.append(idempotent_batch(8, 3, kLastSequence, 3)).duplicate);
  CHECK(f.append_error(idempotent_batch(8, 3, 1)) == ErrorCode::kOutOfOrderSequenceNumber);
  f.append(idempotent_batch(8, 3, 2));
}

TEST_CASE("A refused append leaves the producer as it was") {
  LogFixture f;
  f.open();
  f.append(idempotent_batch(7, 0, 0));
  f.files.faults.bytes_until_full = 5;
  CHECK(f.append_error(idempotent_batch(7, 0, 1)) == ErrorCode::kKafkaStorageError);
  f.files.faults = {};
  CHECK_FALSE(f.append(idempotent_batch(7, 0, 1)).duplicate);
}

TEST_CASE("Producers survive restarts of every kind") {
  LogFixture f;
  const bool clean = GENERATE(true, false);
  const bool with_snapshots = GENERATE(true, false);
  f.options.config.segment_bytes = 400;
  f.open();
  for (int i = 0; i < 20; ++i) {
    f.append(idempotent_batch(7, 0, i));
    f.append(idempotent_batch(8, static_cast<int16_t>(i / 10), i % 10));
  }
  REQUIRE(f.log->segment_count() > 5);
  if (clean) REQUIRE(f.log->close(kNow));
  f.log.reset();
  if (!with_snapshots) {
    // Damaged, not absent: a snapshot that isn't whole must not be believed.
    auto snapshots = *f.index->producers(f.options.id);
    CHECK(snapshots.empty() == !clean);
    for (auto& [offset, snapshot] : snapshots) {
      snapshot[9] ^= std::byte{1};
      REQUIRE(f.index->add_producers(f.options.id, offset, snapshot));
    }
  }
  f.open(clean);
  if (clean && with_snapshots) CHECK(f.report.batches_replayed == 0);
  if (!with_snapshots) CHECK(f.report.batches_replayed == 40);
  CHECK(f.append(idempotent_batch(7, 0, 16)).duplicate);
  CHECK(f.append(idempotent_batch(8, 1, 5)).base_offset == 31);
  CHECK(f.append_error(idempotent_batch(7, 0, 21)) == ErrorCode::kOutOfOrderSequenceNumber);
  f.append(idempotent_batch(7, 0, 20));
  f.append(idempotent_batch(8, 1, 10));
}

TEST_CASE("The index keeps the last two snapshots of producers") {
  LogFixture f;
  f.open();
  const auto stored = [&f] {
    std::vector<int64_t> offsets;
    const auto snapshots = f.index->producers(f.options.id);
    for (const auto& snapshot : *snapshots) offsets.push_back(snapshot.offset);
    return offsets;
  };
  const auto checkpoint = [&f] {
    const auto checkpointing = f.log->begin_checkpoint();
    REQUIRE(checkpointing);
    f.log->finish_checkpoint(*checkpointing);
  };
  for (int i = 0; i < 4; ++i) {
    f.append(idempotent_batch(7, 0, i));
    checkpoint();
  }
  CHECK(stored() == std::vector<int64_t>{4, 3});
  checkpoint();
  CHECK(stored() == std::vector<int64_t>{4, 3});
  f.kill_and_open();
  for (int i = 4; i < 6; ++i) {
    f.append(idempotent_batch(7, 0, i));
    checkpoint();
  }
  CHECK(stored() == std::vector<int64_t>{6, 5});
  REQUIRE(f.log->truncate_to(2, kNow));
  CHECK(stored().empty());
  f.append(idempotent_batch(7, 0, 2));
  checkpoint();
  CHECK(stored() == std::vector<int64_t>{3});
}

TEST_CASE("A producer whose records were all deleted is known after a restart") {
  LogFixture f;
  f.options.config.segment_bytes = 300;
  f.options.config.retention_bytes = 0;
  f.open();
  for (int i = 0; i < 6; ++i) f.append(idempotent_batch(7, 0, i));
  SECTION("by retention") {
    REQUIRE(test::retain(*f.log, f.files, kNow, 6));
    REQUIRE(f.log->log_start_offset() == 6);
  }
  SECTION("by DeleteRecords") { REQUIRE(f.log->delete_records(6)); }
  f.kill_and_open();
  CHECK(f.append_error(idempotent_batch(7, 0, 9)) == ErrorCode::kOutOfOrderSequenceNumber);
  CHECK(f.append(idempotent_batch(7, 0, 5)).duplicate);
}

TEST_CASE("Truncation takes the sequences of what it cut") {
  LogFixture f;
  f.open();
  for (int i = 0; i < 10; ++i) f.append(idempotent_batch(7, 0, i));
  REQUIRE(f.log->truncate_to(6, kNow));
  CHECK(f.log->producers().find(7)->last_sequence() == 5);
  CHECK(f.append_error(idempotent_batch(7, 0, 7)) == ErrorCode::kOutOfOrderSequenceNumber);
  CHECK(f.append(idempotent_batch(7, 0, 5)).duplicate);
  CHECK(f.append(idempotent_batch(7, 0, 6)).base_offset == 6);
  REQUIRE(f.log->truncate_fully_and_start_at(100, kNow));
  CHECK(f.log->producers().size() == 0);
}

TEST_CASE("Producers expire by when they were last seen, not by their timestamps") {
  LogFixture f;
  f.options.producer_expiration_ms = 1000;
  f.open();
  f.append(idempotent_batch(7, 0, 0, 1, kNow - 500'000), 0, kNow);
  CHECK(f.log->producers().expire(kNow + 999) == 0);
  CHECK(f.log->producers().find(7)->last_timestamp_ms == kNow - 500'000);
  CHECK(f.log->producers().expire(kNow + 1000) == 1);
  CHECK(f.append(idempotent_batch(7, 0, 40)).base_offset == 1);
  // Also while the broker is down.
  REQUIRE(f.log->close(kNow));
  f.options.now_ms = kNow + 1000;
  f.open(true);
  CHECK(f.log->producers().size() == 0);
}

TEST_CASE("A list of producers is in order of their ids") {
  LogFixture f;
  f.open();
  for (const int64_t id : {9, 3, 5}) f.append(idempotent_batch(id, 0, 0, 2));
  const auto list = f.log->producers().list();
  REQUIRE(list.size() == 3);
  CHECK(list[0].producer_id == 3);
  CHECK(list[2].producer_id == 9);
  CHECK(list[2].last_sequence() == 1);
  CHECK(list[2].last_offset() == 1);
}

}  // namespace
}  // namespace millrace::storage
