// What a log holds back: when it is written, who sees it, and what becomes of it on a full disk and in a
// crash.
#include <catch2/catch.hpp>

#include "tests/storage/journaled_log.h"

namespace millrace::storage {
namespace {

using test::batch_of;
using test::idempotent_batch;
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
  CHECK(f.log->offset_for_timestamp(kNow)->value().offset == 0);
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

TEST_CASE("Space is set aside ahead, but not beyond the end of a segment, and not after a clean stop") {
  HoldingLog f;
  const auto path = f.segment_path(0);
  SECTION("much room") {
    f.append(batch_of(1));
    const int64_t ahead = f.files.reserved(path);
    CHECK(ahead > static_cast<int64_t>(batch_of(1).size()));
    f.append(batch_of(1));
    CHECK(f.files.reserved(path) == ahead);
  }
  SECTION("little room") {
    f.options.config.segment_bytes = static_cast<int32_t>(2 * batch_of(1).size() + 10);
    f.log->set_config(f.options.config);
    f.append(batch_of(1));
    CHECK(f.files.reserved(path) == f.options.config.segment_bytes);
    f.append(batch_of(1));
    f.append(batch_of(1));
    CHECK(f.log->segment_count() == 2);
  }
  SECTION("a disk that is nearly full") {
    f.append(large_batch());
    f.files.faults.bytes_until_full = static_cast<int64_t>(batch_of(1).size());
    f.append(batch_of(1));
    CHECK(f.writes == 1);
    CHECK(f.append_error(batch_of(1)) == ErrorCode::kKafkaStorageError);
    f.files.faults.bytes_until_full = -1;
    CHECK(f.base_offsets() == Offsets{0, 1});
  }
  const auto active = f.files.has(f.segment_path(2)) ? f.segment_path(2) : path;
  REQUIRE(f.log->close(kNow));
  CHECK(f.files.reserved(active) == 0);
}

TEST_CASE("Who reads what is written doesn't have the rest written") {
  HoldingLog f;
  for (int i = 0; i < 4; ++i) f.append(batch_of(1));
  f.write_held();
  CHECK(f.writes == 1);
  f.append(batch_of(1));
  f.append(batch_of(1));
  const auto batch_bytes = batch_of(1).size();
  SECTION("because there is enough of it") {
    const auto slice = f.log->read(1, 6, 3 * batch_bytes, false);
    REQUIRE(slice);
    CHECK(slice->size == 3 * batch_bytes);
    CHECK(f.log->read(2, 6, batch_bytes + 1, true)->size == batch_bytes + 1);
    CHECK(f.log->read(0, 4, 1 << 20, false)->size == 4 * batch_bytes);
    CHECK(f.writes == 1);
    CHECK(f.log->read(1, 6, 3 * batch_bytes + 1, false)->size == 3 * batch_bytes + 1);
    CHECK(f.writes == 2);
  }
  SECTION("because it can't be written") {
    f.fails = true;
    CHECK(f.log->read(1, 6, 1 << 20, false)->size == 3 * batch_bytes);
    CHECK(f.log->read(4, 6, 1 << 20, false).error().code == ErrorCode::kKafkaStorageError);
    f.fails = false;
    CHECK(f.log->read(1, 6, 1 << 20, false)->size == 5 * batch_bytes);
  }
}

TEST_CASE("No memory is kept for what was written") {
  HeldBatches held;
  WriteBehindLimit limit;
  const Buffer batch = batch_of(1);
  held.make_room(batch.size());
  held.add(batch, &limit);
  CHECK_FALSE(limit.has_room(WriteBehindLimit::kMaxBytes));
  held.clear();
  CHECK(limit.has_room(WriteBehindLimit::kMaxBytes));
  CHECK(held.empty());
  CHECK(held.capacity() == 0);
}

TEST_CASE("What is held back stays where it is, in twice the memory at most") {
  HeldBatches held;
  Buffer all;
  const std::byte* first = nullptr;
  for (int count = 1; held.has_room(batch_of(count % 40 + 1).size()); ++count) {
    const Buffer batch = batch_of(count % 40 + 1);
    held.make_room(batch.size());
    held.add(batch, nullptr);
    all.insert(all.end(), batch.begin(), batch.end());
    if (first == nullptr) first = held.pieces().front().data();
    CHECK(held.capacity() <= 2 * std::max(held.size(), HeldBatches::kMaxBatchBytes));
  }
  REQUIRE(held.size() > HeldBatches::kMaxBytes / 2);
  CHECK(held.pieces().front().data() == first);
  Buffer in_pieces;
  for (const Bytes piece : held.pieces()) in_pieces.insert(in_pieces.end(), piece.begin(), piece.end());
  CHECK(in_pieces == all);
}

TEST_CASE("A file that can't be cut off any more ends the log, and what was held back is in the journal") {
  HoldingLog f;
  f.append(batch_of(1));
  CHECK(f.commit());
  f.fails = true;
  f.files.faults.fail_truncate = true;
  CHECK(f.append_error(large_batch()) == ErrorCode::kKafkaStorageError);
  CHECK(f.log->is_offline());
  f.fails = false;
  f.files.faults.fail_truncate = false;
  SECTION("for a checkpoint") {
    f.checkpoint();
    CHECK(f.writes == 3);
  }
  SECTION("for a start") {}
  f.open_with_journal(false);
  CHECK(f.base_offsets() == Offsets{0});
}

TEST_CASE("The index is told of nothing behind a checkpoint, which a kill may take") {
  HoldingLog f;
  f.options.config.index_interval_bytes = 1;
  f.log->set_config(f.options.config);
  for (int i = 0; i < 5; ++i) f.append(batch_of(1));
  const auto checkpoint = f.log->begin_checkpoint();
  REQUIRE(checkpoint);
  for (int i = 0; i < 5; ++i) f.append(batch_of(2));
  f.log->finish_checkpoint(*checkpoint);
  CHECK(f.index->entries({f.options.id, 0})->back().offset == 4);
  // What came behind follows with the next.
  f.checkpoint();
  CHECK(f.index->entries({f.options.id, 0})->back().offset == 13);
}

TEST_CASE("No producer is forgotten because the snapshots are ahead of what a kill leaves") {
  HoldingLog f;
  f.append(idempotent_batch(7, 0, 0));
  REQUIRE(f.log->roll(kNow));
  f.checkpoint();
  for (int64_t before = 1; before <= 2; ++before) {
    f.append(batch_of(1));
    CHECK(f.commit());
    REQUIRE(f.log->delete_records(before));
  }
  f.open_with_journal(false);
  CHECK(f.log->log_end_offset() == 3);
  CHECK(f.append(idempotent_batch(7, 0, 0)).duplicate);
}

TEST_CASE("A search by time finds what is written where the rest can't be") {
  HoldingLog f;
  f.append(batch_of(1));
  f.write_held();
  f.append(batch_of(1, kNow + 5));
  f.fails = true;
  CHECK(f.log->offset_for_timestamp(kNow)->value().offset == 0);
  CHECK(f.log->offset_for_timestamp(kNow + 1).error().code == ErrorCode::kKafkaStorageError);
  CHECK(f.log->max_timestamp().error().code == ErrorCode::kKafkaStorageError);
  f.append(batch_of(1, kNow - 5));
  f.fails = false;
  CHECK(f.log->offset_for_timestamp(kNow + 1)->value().offset == 1);
  CHECK(f.log->max_timestamp()->value().offset == 1);
}

TEST_CASE("A segment isn't rolled before what it holds back is written") {
  HoldingLog f;
  f.append(batch_of(1));
  f.fails = true;
  CHECK_FALSE(f.log->roll(kNow));
  CHECK(f.log->segment_count() == 1);
  f.fails = false;
  REQUIRE(f.log->roll(kNow));
  f.append(batch_of(1));
  CHECK(f.base_offsets() == Offsets{0, 1});
}

}  // namespace
}  // namespace millrace::storage
