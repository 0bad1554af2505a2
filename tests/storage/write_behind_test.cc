// What a log holds back: when it is written, who sees it, and what becomes of it on a full disk and in a
// crash.
#include <catch2/catch.hpp>

#include "tests/storage/journaled_log.h"

namespace millrace::storage {
namespace {

using test::batch_of;
using test::JournaledLog;
using test::kNow;
using test::Operation;
using test::Verdict;
using Offsets = std::vector<int64_t>;

Buffer large_batch() { return batch_of(std::vector<int64_t>(1, kNow), HeldBatches::kMaxBatchBytes); }

struct HoldingLog : JournaledLog {
  int writes = 0;        // to the segments
  bool fails = false;    // those that are made
  bool is_full = false;  // of the disk

  HoldingLog() {
    files.judge = [this](Operation operation, const std::string& path) {
      const bool is_write = operation == Operation::kWrite || operation == Operation::kWriteAside;
      if (!is_write || !path.ends_with(Segment::kSuffix)) return Verdict::kProceed;
      ++writes;
      return fails ? Verdict::kFail : Verdict::kProceed;
    };
    files.is_full = [this] { return is_full; };
  }
  size_t file_size(int64_t base_offset = 0) { return files.content(segment_path(base_offset)).size(); }
};

TEST_CASE("Small batches reach the file with one write, before anybody looks into it") {
  HoldingLog f;
  for (int i = 0; i < 5; ++i) f.append(batch_of(2));
  CHECK(f.commit());
  CHECK(f.writes == 0);
  CHECK(f.file_size() == 0);
  CHECK(f.log->size_bytes() == static_cast<int64_t>(5 * batch_of(2).size()));
  CHECK(f.base_offsets() == Offsets{0, 2, 4, 6, 8});
  CHECK(f.writes == 1);
  f.append(batch_of(1));
  f.append(batch_of(1));
  CHECK(f.log->max_timestamp()->value().offset == 0);
  CHECK(f.writes == 2);
  f.append(batch_of(1));
  SECTION("or with the next checkpoint") { f.checkpoint(); }
  SECTION("or with a roll") { REQUIRE(f.log->roll(kNow)); }
  SECTION("or with a clean stop") { REQUIRE(f.log->close(kNow)); }
  SECTION("or with a truncation") {
    REQUIRE(f.log->truncate_to(12, kNow));
    CHECK(f.base_offsets() == Offsets{0, 2, 4, 6, 8, 10, 11});
  }
  CHECK(f.writes == 3);
}

TEST_CASE("What is held back is bounded, for a segment and for a shard") {
  HoldingLog f;
  SECTION("a large batch goes at once, with what was held back") {
    f.append(batch_of(1));
    f.append(large_batch());
    CHECK(f.writes == 1);
    CHECK(f.file_size() == batch_of(1).size() + large_batch().size());
  }
  SECTION("many small ones") {
    const Buffer batch = batch_of(10);
    for (size_t held = 0; held < 5 * HeldBatches::kMaxBytes / 2; held += batch.size()) f.append(batch);
    CHECK(f.writes == 2);
  }
  SECTION("of all logs") {
    f.journal->write_behind().take(WriteBehindLimit::kMaxBytes - batch_of(1).size());
    f.append(batch_of(1));
    CHECK(f.writes == 0);
    f.append(batch_of(1));
    CHECK(f.writes == 1);
    // Their room is given back.
    f.append(batch_of(1));
    CHECK(f.writes == 1);
    f.log.reset();
    CHECK(f.journal->write_behind().has_room(batch_of(1).size()));
    CHECK_FALSE(f.journal->write_behind().has_room(batch_of(1).size() + 1));
  }
}

TEST_CASE("What the journal doesn't have is written at once") {
  HoldingLog f;
  SECTION("of a topic that is synced now and then") {
    f.options.config.flush_messages = 10;
    f.log->set_config(f.options.config);
    f.append(batch_of(1));
    CHECK(f.writes == 1);
  }
  SECTION("behind what wasn't staged") {
    f.append_large();
    CHECK(f.writes == 1);
    f.append(batch_of(1));
    CHECK(f.writes == 2);
  }
  SECTION("without a journal") {
    f.options.journal = nullptr;
    f.open();
    f.append(batch_of(1));
    CHECK(f.writes == 1);
  }
}

TEST_CASE("Where no space can be set aside, nothing is held back") {
  HoldingLog f;
  f.files.can_reserve = false;
  f.append(batch_of(1));
  f.append(batch_of(1));
  CHECK(f.writes == 2);
  CHECK(f.base_offsets() == Offsets{0, 1});
}

TEST_CASE("A full disk refuses new records, and none that were taken before") {
  HoldingLog f;
  f.append(batch_of(1));
  CHECK(f.commit());
  f.is_full = true;
  int64_t taken = 1;
  while (f.append_error(batch_of(1)) == ErrorCode::kNone) ++taken;
  CHECK(taken > 1);
  CHECK(f.append_error(batch_of(1)) == ErrorCode::kKafkaStorageError);
  CHECK(f.append_error(large_batch()) == ErrorCode::kKafkaStorageError);
  CHECK(f.log->log_end_offset() == taken);
  CHECK(f.commit());
  // Whether it is read or not: a checkpoint must not fail.
  if (GENERATE(true, false)) CHECK(f.base_offsets().size() == static_cast<size_t>(taken));
  f.checkpoint();
  f.is_full = false;
  f.append(batch_of(1));
  CHECK(f.base_offsets().size() == static_cast<size_t>(taken) + 1);
}

TEST_CASE("A write that fails takes nothing of what was held back with it") {
  HoldingLog f;
  f.append(batch_of(1));
  f.append(batch_of(1));
  CHECK(f.commit());
  f.fails = true;
  SECTION("neither that of the batch behind") {
    CHECK(f.append_error(large_batch()) == ErrorCode::kKafkaStorageError);
  }
  SECTION("nor its own") {
    CHECK(f.log->read(0, 2, 1, true).error().code == ErrorCode::kKafkaStorageError);
    CHECK_FALSE(f.log->begin_checkpoint());
  }
  f.fails = false;
  CHECK(f.base_offsets() == Offsets{0, 1});
  f.append(batch_of(1));
  CHECK(f.base_offsets() == Offsets{0, 1, 2});
}

TEST_CASE("What was held back comes back from the journal after a kill") {
  HoldingLog f;
  Offsets expected;
  for (int64_t i = 0; i < 2'000; ++i) {
    f.append(batch_of(1));
    expected.push_back(i);
    if (i % 100 == 0) CHECK(f.commit());
  }
  CHECK(f.commit());
  f.append(batch_of(1));  // not acknowledged
  if (GENERATE(true, false)) (void)f.base_offsets();
  f.log.reset();
  f.writes = 0;
  f.open_with_journal(false);
  CHECK(f.log->log_end_offset() >= 2'000);
  CHECK(f.log->log_end_offset() <= 2'001);
  // As few writes as when it was appended.
  CHECK(f.writes < 10);
  REQUIRE(f.log->truncate_to(2'000, kNow));
  CHECK(f.base_offsets() == expected);
}

TEST_CASE("A segment gives back the space that was set aside for more when it is full, and at a clean stop") {
  HoldingLog f;
  f.append(batch_of(1));
  CHECK(f.files.reserved(f.segment_path(0)) > 0);
  SECTION("full") { REQUIRE(f.log->roll(kNow)); }
  SECTION("stopped") { REQUIRE(f.log->close(kNow)); }
  CHECK(f.files.reserved(f.segment_path(0)) == 0);
}

}  // namespace
}  // namespace millrace::storage
