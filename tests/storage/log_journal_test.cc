// A log together with a journal: what is durable when, and what a start makes of it.
#include <catch2/catch.hpp>

#include "tests/storage/journaled_log.h"

namespace millrace::storage {
namespace {

using test::batch_of;
using test::JournaledLog;
using test::kNow;
using test::LogFixture;

TEST_CASE("A journaled record is durable, although its segment isn't synced") {
  JournaledLog f;
  f.append(batch_of(2));
  f.append(batch_of(1));
  CHECK(f.commit());
  f.append(batch_of(1));  // not committed
  CHECK(f.log->recovery_point() == 0);
  f.lose_power_and_open();
  CHECK(f.log->log_end_offset() == 3);
  CHECK(f.base_offsets() == std::vector<int64_t>{0, 2});
  CHECK(f.report.batches_restored == 2);
  CHECK(f.log->recovery_point() == 3);
  // And again, from what that start made.
  f.append(batch_of(1));
  CHECK(f.commit());
  f.lose_power_and_open();
  CHECK(f.base_offsets() == std::vector<int64_t>{0, 2, 3});
}

TEST_CASE("Much at once is synced in its segment, and little after it is journaled again") {
  JournaledLog f;
  f.append(batch_of(1));
  f.append_large();
  CHECK_FALSE(f.commit());
  CHECK(f.log->recovery_point() == 2);
  f.append(batch_of(1));
  CHECK_FALSE(f.commit());  // it may go on like that
  f.append(batch_of(1));
  CHECK(f.commit());
  f.append(batch_of(1));
  CHECK(f.commit());
  f.lose_power_and_open();
  CHECK(f.base_offsets() == std::vector<int64_t>{0, 1, 2, 3, 4});
  CHECK(f.report.batches_restored == 2);
}

TEST_CASE("A last batch with another base offset is cut off, and comes back from the journal") {
  JournaledLog f;
  for (int i = 0; i < 4; ++i) f.append(batch_of(1));
  CHECK(f.commit());
  f.write_held();
  f.log.reset();
  Buffer& content = f.files.content(f.segment_path(0));
  content[content.size() / 4 * 3 + GENERATE(1, 7)] ^= std::byte{4};
  f.open_with_journal(false);
  CHECK(f.base_offsets() == std::vector<int64_t>{0, 1, 2, 3});
  CHECK(f.report.batches_restored == 1);
}

TEST_CASE("A topic that is synced now and then doesn't use the journal") {
  JournaledLog f;
  f.options.config.flush_messages = 10;
  f.log->set_config(f.options.config);
  f.append(batch_of(3));
  CHECK_FALSE(f.commit());
  f.append(batch_of(3));
  f.options.config.flush_messages = 1;
  f.log->set_config(f.options.config);
  // What came before wasn't staged, so this can't be durable by the journal alone.
  f.append(batch_of(1));
  CHECK_FALSE(f.commit());
  f.lose_power_and_open();
  CHECK(f.log->log_end_offset() == 7);
}

TEST_CASE("A start after a kill reads what came after the last checkpoint") {
  JournaledLog f;
  for (int i = 0; i < 50; ++i) f.append(batch_of(1));
  CHECK(f.commit());
  f.checkpoint();
  CHECK(f.log->recovery_point() == 50);
  const int64_t size = f.log->size_bytes();
  f.append(test::idempotent_batch(7, 0, 0));
  CHECK(f.commit());
  SECTION("with the page cache") { f.open_with_journal(false); }
  SECTION("without") { f.lose_power_and_open(); }
  CHECK(f.report.bytes_scanned + f.report.batches_restored * (f.log->size_bytes() - size) ==
        f.log->size_bytes() - size);
  CHECK(f.report.batches_replayed <= 1);
  CHECK(f.log->log_end_offset() == 51);
  CHECK(f.append(test::idempotent_batch(7, 0, 0)).duplicate);
  CHECK(f.base_offsets().size() == 51);
}

TEST_CASE("What a start has read or restored is worth a checkpoint, and isn't read again after it") {
  JournaledLog f;
  for (int i = 0; i < 5; ++i) f.append(batch_of(1));
  CHECK(f.commit());
  SECTION("from the segment") { f.open_with_journal(false); }
  SECTION("from the journal") { f.lose_power_and_open(); }
  SECTION("without an index") {
    f.checkpoint();
    f.index = std::move(*OffsetIndex::open_in_memory());
    f.open_with_journal(false);
  }
  CHECK(f.log->lacks_checkpoint());
  f.checkpoint();
  CHECK_FALSE(f.log->lacks_checkpoint());
  f.open_with_journal(false);
  CHECK(f.report.segments_scanned == 0);
  CHECK_FALSE(f.log->lacks_checkpoint());
  f.close_and_open();
  CHECK_FALSE(f.log->lacks_checkpoint());
}

TEST_CASE("What the journal restores needn't be kept where damage cuts it off") {
  JournaledLog f;
  for (int i = 0; i < 4; ++i) f.append(batch_of(1));
  CHECK(f.commit());
  const bool has_more = GENERATE(false, true);
  if (has_more) f.append(batch_of(1));
  f.write_held();
  f.log.reset();
  f.files.content(f.segment_path(0))[batch_of(1).size() + 70] ^= std::byte{1};
  f.open_with_journal(false);
  CHECK(f.base_offsets() == std::vector<int64_t>{0, 1, 2, 3});
  REQUIRE(f.report.cuts.size() == 1);
  CHECK(f.report.cuts[0].set_aside == has_more);
  CHECK(f.files.has(f.segment_path(0) + ".cut") == has_more);
}

TEST_CASE("Appends and a roll during a checkpoint are no part of it") {
  JournaledLog f;
  f.append(batch_of(1));
  CHECK(f.commit());
  const auto checkpoint = f.log->begin_checkpoint();
  REQUIRE(checkpoint);
  f.append(batch_of(1));
  CHECK(f.commit());
  const bool rolls = GENERATE(true, false);
  if (rolls) REQUIRE(f.log->roll(kNow));
  f.append(batch_of(1));
  CHECK(f.commit());
  REQUIRE(checkpoint->dirty.sync(f.files));
  f.log->finish_checkpoint(*checkpoint);
  CHECK(f.log->recovery_point() == 1);
  f.lose_power_and_open();
  CHECK(f.base_offsets() == std::vector<int64_t>{0, 1, 2});
}

TEST_CASE("What a truncation cut off doesn't come back from the journal") {
  JournaledLog f;
  for (int i = 0; i < 4; ++i) f.append(batch_of(1));
  CHECK(f.commit());
  f.append(batch_of(1));
  const bool restart = GENERATE(true, false);
  if (restart) {
    REQUIRE(f.log->truncate_fully_and_start_at(2, kNow));
  } else {
    REQUIRE(f.log->truncate_to(2, kNow));
  }
  SECTION("at once") {
    f.lose_power_and_open();
    CHECK(f.log->log_end_offset() == 2);
  }
  SECTION("when there is something new") {
    f.append(batch_of(2), 1);
    CHECK(f.commit());
    f.lose_power_and_open();
    CHECK(f.log->log_end_offset() == 4);
    CHECK(f.base_offsets().back() == 2);
    CHECK(f.log->leader_epochs().epoch_of(2) == 1);
  }
  SECTION("when there is something new that isn't durable") {
    f.append(batch_of(2), 1);
    f.lose_power_and_open();
    CHECK(f.log->log_end_offset() == 2);
  }
  CHECK(f.log->log_start_offset() == (restart ? 2 : 0));
}

TEST_CASE("Deleted records don't come back from the journal") {
  JournaledLog f;
  for (int i = 0; i < 4; ++i) f.append(batch_of(1));
  CHECK(f.commit());
  REQUIRE(f.log->delete_records(3));
  f.lose_power_and_open();
  CHECK(f.log->log_start_offset() == 3);
  CHECK(f.base_offsets() == std::vector<int64_t>{3});
  SECTION("whole segments of them") {
    f.options.config.retention_bytes = 0;
    f.log->set_config(f.options.config);
    f.append(batch_of(1));
    CHECK(f.commit());
    REQUIRE(test::retain(*f.log, f.files, kNow, 5));
    f.append(batch_of(1));
    CHECK(f.commit());
    f.lose_power_and_open();
    CHECK(f.log->log_start_offset() == 5);
    CHECK(f.base_offsets() == std::vector<int64_t>{5});
  }
}

TEST_CASE("Segments begun since the last checkpoint are made again") {
  JournaledLog f;
  f.options.config.segment_bytes = 300;
  f.log->set_config(f.options.config);
  for (int i = 0; i < 12; ++i) {
    f.append(batch_of(1));
    CHECK(f.commit());
  }
  REQUIRE(f.log->segment_count() > 3);
  f.lose_power_and_open();
  CHECK(f.log->log_end_offset() == 12);
  CHECK(f.base_offsets().size() == 12);
}

TEST_CASE("A log that lacks what was known to be durable isn't opened") {
  JournaledLog f;
  f.append(batch_of(1));
  f.append_large();
  CHECK_FALSE(f.commit());
  f.append(batch_of(1));
  CHECK_FALSE(f.commit());
  f.append(batch_of(1));
  CHECK(f.commit());
  f.log.reset();
  f.files.content(f.segment_path(0))[80] ^= std::byte{1};
  const auto opened = f.try_open_with_journal(false);
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == ErrorCode::kKafkaStorageError);
  CHECK(opened.error().message.find("records up to 3 were acknowledged") != std::string::npos);
  CHECK(opened.error().message.find("log verify") != std::string::npos);
}

TEST_CASE("After a clean stop the journal isn't needed") {
  JournaledLog f;
  f.append(test::idempotent_batch(7, 0, 0));
  CHECK(f.commit());
  REQUIRE(f.log->close(kNow));
  f.open_with_journal(true);
  CHECK(f.report.segments_scanned == 0);
  CHECK(f.report.batches_replayed == 0);
  CHECK(f.log->log_end_offset() == 1);
  f.append(batch_of(1));
  CHECK(f.commit());
  f.lose_power_and_open();
  CHECK(f.log->log_end_offset() == 2);
}

}  // namespace
}  // namespace millrace::storage
