#include "storage/compaction.h"

#include <catch2/catch.hpp>
#include <random>

#include "tests/storage/compaction_fixture.h"

namespace millrace::storage {
namespace {

using protocol::BatchOptions;
using protocol::Compression;
using test::CompactionFixture;
using test::kNow;

BatchOptions producer(int64_t id, int32_t sequence, int16_t epoch = 0) {
  BatchOptions options;
  options.producer_id = id;
  options.producer_epoch = epoch;
  options.base_sequence = sequence;
  return options;
}

TEST_CASE("Compaction keeps the last record of each key, at its offset") {
  CompactionFixture f;
  f.put({{"a", "1"}, {"b", "1"}});
  f.put({{"a", "2"}});
  f.put({{"c", "1"}, {"a", "3"}, {"d", "1"}});
  f.seal();
  f.put({{"b", "2"}});
  REQUIRE(f.compact());
  // What is in the active segment isn't looked at.
  CHECK(f.text() == "1 b=1, 3 c=1, 4 a=3, 5 d=1, 6 b=2");
  CHECK(f.log->log_start_offset() == 0);
  CHECK(f.log->log_end_offset() == 7);
  CHECK(f.log->first_dirty_offset() == 6);
  CHECK(!f.compact());
  f.seal();
  REQUIRE(f.compact());
  CHECK(f.text() == "3 c=1, 4 a=3, 5 d=1, 6 b=2");
  f.close_and_open();
  CHECK(f.report.segments_scanned == 0);
  CHECK(f.log->first_dirty_offset() == 7);
  CHECK(f.text() == "3 c=1, 4 a=3, 5 d=1, 6 b=2");
}

TEST_CASE("A batch keeps its codec, epoch, base offset and last offset") {
  const auto codec = static_cast<Compression>(GENERATE(range(0, 5)));
  CompactionFixture f;
  BatchOptions options = producer(5, 10);
  options.compression = codec;
  f.append(test::keyed_batch({{"a", "1"}, {"b", std::string(300, 'x')}, {"c", "1"}, {"a", "2"}, {"d", "1"}},
                             options),
           3);
  f.append(test::keyed_batch({{"d", "2"}, {"c", "2"}}), 4);
  f.seal();
  REQUIRE(f.compact());
  const auto batches = f.batches();
  REQUIRE(batches.size() == 2);
  const auto& header = batches[0].first;
  CHECK(header.compression() == codec);
  CHECK(header.partition_leader_epoch == 3);
  CHECK(header.base_offset == 0);
  CHECK(header.last_offset() == 4);
  CHECK(header.record_count == 2);
  CHECK(header.producer_id == 5);
  CHECK(header.base_sequence == 10);
  CHECK(header.last_sequence() == 14);
  CHECK(header.max_timestamp_ms == kNow);
  CHECK(f.text() == "1 b=" + std::string(300, 'x') + ", 3 a=2, 5 d=2, 6 c=2");
}

TEST_CASE("A batch that loses nothing stays byte for byte") {
  CompactionFixture f;
  BatchOptions options;
  options.compression = Compression::kGzip;
  f.put({{"a", "1"}});
  f.put({{"b", "1"}, {"c", "1"}}, options);
  const Buffer before = f.batches()[1].second;
  f.put({{"a", "2"}});
  f.seal();
  REQUIRE(f.compact());
  REQUIRE(f.batches().size() == 2);
  CHECK(f.batches()[0].second == before);
}

TEST_CASE("A segment that loses nothing isn't replaced") {
  CompactionFixture f;
  f.options.config.segment_bytes = 100;
  f.log->set_config(f.options.config);
  f.put({{"a", "1"}, {"b", "1"}});
  f.seal();
  const auto file = f.files.open(f.segment_path(0), OpenMode::kRead);
  REQUIRE(f.compact());
  CHECK(f.log->first_dirty_offset() == 2);
  // The very same file, so that writing to the one is seen in the other.
  f.files.content(f.segment_path(0))[0] = std::byte{0x7f};
  Buffer byte(1);
  REQUIRE((*file)->read_at(byte, 0));
  CHECK(byte[0] == std::byte{0x7f});
}

TEST_CASE("Headers and timestamps survive") {
  CompactionFixture f;
  protocol::BatchBuilder builder;
  const Bytes value = as_bytes("v");
  const std::vector<protocol::RecordHeader> headers{{"one", as_bytes("1")}, {"none", std::nullopt}};
  builder.append(as_bytes("a"), value, {}, kNow - 50);
  builder.append(as_bytes("b"), value, headers, kNow + 7);
  builder.append(as_bytes("a"), value, {}, kNow - 9);
  f.append(*builder.build());
  f.seal();
  REQUIRE(f.compact());
  const auto records = f.records();
  REQUIRE(records.size() == 2);
  CHECK(records[0].timestamp_ms == kNow + 7);
  CHECK(records[1].timestamp_ms == kNow - 9);
  bool seen = false;
  REQUIRE(protocol::for_each_record(f.batches()[0].second, 1000, [&](const protocol::RecordView& record) {
    if (as_text(*record.key) != "b") return true;
    seen = true;
    REQUIRE(record.headers.size() == 2);
    CHECK(record.headers[0].key == "one");
    CHECK(as_text(*record.headers[0].value) == "1");
    CHECK(!record.headers[1].value);
    return true;
  }));
  CHECK(seen);
}

TEST_CASE("With LogAppendTime the records keep the batch's time") {
  CompactionFixture f;
  f.options.config.timestamp_type = protocol::TimestampType::kLogAppendTime;
  f.log->set_config(f.options.config);
  f.append(test::keyed_batch({{"a", "1", 5}, {"b", std::nullopt, 6}, {"a", "2", 7}}), 0, kNow);
  f.seal();
  REQUIRE(f.compact(kNow + 10));
  const auto records = f.records();
  REQUIRE(records.size() == 2);
  CHECK(records[0].timestamp_ms == kNow);
  CHECK(records[1].timestamp_ms == kNow);
  const auto header = f.batches()[0].first;
  CHECK(header.has_delete_horizon());
  CHECK(header.base_timestamp_ms == kNow + 1010);
  CHECK(header.timestamp_type() == protocol::TimestampType::kLogAppendTime);
}

TEST_CASE("A tombstone hides its key, and goes delete.retention.ms after the first compaction that met it") {
  CompactionFixture f;
  f.put({{"a", "1"}, {"b", "1"}});
  f.put({{"a", std::nullopt}, {"c", "1"}});
  f.seal();
  REQUIRE(f.compact(kNow + 5));
  CHECK(f.text() == "1 b=1, 2 a=-, 3 c=1");
  const auto horizon = f.batches()[1].first;
  CHECK(horizon.has_delete_horizon());
  CHECK(horizon.base_timestamp_ms == kNow + 1005);
  CHECK(f.records()[1].timestamp_ms == kNow);
  const auto again = [&](int64_t now_ms) {
    f.put({{"x", "1"}});
    f.seal();
    REQUIRE(f.compact(now_ms));
  };
  again(kNow + 1004);
  CHECK(f.text() == "1 b=1, 2 a=-, 3 c=1, 4 x=1");
  CHECK(f.batches()[1].first.base_timestamp_ms == kNow + 1005);
  again(kNow + 1005);
  CHECK(f.text() == "1 b=1, 3 c=1, 5 x=1");
  // The batch is rewritten, and doesn't lose the horizon.
  CHECK(f.batches()[1].first.has_delete_horizon());
  CHECK(f.batches()[1].first.base_offset == 2);
}

TEST_CASE("The last batch of an active producer stays, without its records") {
  CompactionFixture f;
  f.put({{"a", "1"}}, producer(7, 0));
  f.put({{"a", "2"}, {"b", "2"}}, producer(7, 1));
  f.put({{"a", "3"}}, producer(8, 0));
  f.put({{"a", "4"}, {"b", "4"}});
  f.seal();
  REQUIRE(f.compact());
  CHECK(f.text() == "4 a=4, 5 b=4");
  const auto batches = f.batches();
  REQUIRE(batches.size() == 3);
  CHECK(batches[0].first.producer_id == 7);
  CHECK(batches[0].first.record_count == 0);
  CHECK(batches[0].first.last_offset() == 2);
  CHECK(batches[0].first.last_sequence() == 2);
  CHECK(batches[1].first.producer_id == 8);
  // Even if nothing else knows of the producers.
  f.index = nullptr;
  f.log.reset();
  for (const std::string& path : f.files.paths()) {
    if (path.ends_with(".snapshot")) REQUIRE(f.files.remove(path));
  }
  f.index = std::move(*OffsetIndex::open_in_memory());
  f.open();
  const auto again = f.append(test::keyed_batch({{"a", "2"}, {"b", "2"}}, producer(7, 1)));
  CHECK(again.duplicate);
  CHECK(again.base_offset == 1);
  CHECK(f.append_error(test::keyed_batch({{"a", "5"}}, producer(7, 4))) ==
        ErrorCode::kOutOfOrderSequenceNumber);
  CHECK(!f.put({{"a", "5"}}, producer(7, 3)).duplicate);
  CHECK(f.append_error(test::keyed_batch({{"a", "5"}}, producer(8, 2))) ==
        ErrorCode::kOutOfOrderSequenceNumber);
}

TEST_CASE("A producer's batch goes once a later one of it is compacted, or the producer is forgotten") {
  CompactionFixture f;
  f.put({{"a", "1"}}, producer(7, 0));
  f.put({{"a", "2"}});
  f.seal();
  f.put({{"b", "1"}}, producer(7, 1));
  REQUIRE(f.compact());
  // The later one is in the active segment, which a crash may take.
  CHECK(f.batches().front().first.producer_id == 7);
  f.put({{"b", "2"}});
  f.seal();
  REQUIRE(f.compact());
  CHECK(f.batches().front().first.base_offset == 1);
  CHECK(f.batches()[1].first.producer_id == 7);
  CHECK(f.log->producers().expire(kNow + f.options.producer_expiration_ms) == 1);
  f.put({{"c", "2"}});
  f.seal();
  REQUIRE(f.compact());
  for (const auto& [header, bytes] : f.batches()) CHECK(!header.has_producer_id());
}

TEST_CASE("Control batches stay, and their keys hide nothing") {
  CompactionFixture f;
  const std::string marker("\0\0\0\1", 4);
  f.put({{marker, "1"}});
  BatchOptions control = producer(7, -1);
  control.control = control.transactional = true;
  Buffer batch = test::keyed_batch({{marker, "x"}}, control);
  REQUIRE(f.log->append_as_leader(batch, 0, kNow, AppendOrigin::kCoordinator));
  f.seal();
  REQUIRE(f.compact());
  CHECK(f.records().size() == 2);
  CHECK(f.batches()[1].first.is_control());
}

TEST_CASE("Records without key are dropped") {
  CompactionFixture f;
  f.options.config.compact = false;
  f.log->set_config(f.options.config);
  f.append(test::batch_of(2));
  f.put({{"a", "1"}});
  f.options.config.compact = true;
  f.log->set_config(f.options.config);
  CHECK(f.append_error(test::batch_of(1)) == ErrorCode::kInvalidRecord);
  f.seal();
  REQUIRE(f.compact());
  CHECK(f.text() == "2 a=1");
}

TEST_CASE("Small segments become one, up to segment.bytes") {
  CompactionFixture f;
  const auto fill = [&](int segments, const std::string& key) {
    for (int i = 0; i < segments; ++i) {
      f.put({{key + std::to_string(i), std::string(100, 'x')}, {"same", std::to_string(i)}});
      f.seal();
    }
  };
  fill(6, "a");
  CHECK(f.log->segment_count() == 7);
  REQUIRE(f.compact());
  CHECK(f.log->segment_count() == 2);
  CHECK(f.names() == std::vector<std::string>{Segment::file_name(0), Segment::file_name(12)});
  CHECK(f.records().size() == 7);
  f.options.config.segment_bytes = 1200;
  f.log->set_config(f.options.config);
  fill(6, "b");
  REQUIRE(f.compact());
  CHECK(f.log->segment_count() > 2);
  CHECK(f.log->segment_count() < 5);
  for (const std::string& name : f.names())
    CHECK(f.files.content(f.options.directory + "/" + name).size() <= 1200);
  CHECK(f.records().size() == 13);
  f.close_and_open();
  CHECK(f.report.segments_scanned == 0);
  CHECK(f.records().size() == 13);
  f.kill_and_open();
  CHECK(f.records().size() == 13);
}

TEST_CASE("A segment of which nothing stays still says where it ends") {
  CompactionFixture f;
  f.put({{"a", "1"}, {"b", "1"}});
  f.seal();
  f.put({{"a", "2"}, {"b", "2"}});
  f.seal();
  f.put({{"a", "3"}, {"b", "3"}});
  f.seal();
  // None of them fits to another.
  f.options.config.segment_bytes = 70;
  f.log->set_config(f.options.config);
  REQUIRE(f.compact());
  CHECK(f.text() == "4 a=3, 5 b=3");
  CHECK(f.log->log_start_offset() == 0);
  CHECK(f.log->segment_count() == 4);
  CHECK(f.batches().size() == 3);
  f.options.config.segment_bytes = 1000;
  f.kill_and_open();
  CHECK(f.log->log_start_offset() == 0);
  CHECK(f.text() == "4 a=3, 5 b=3");
  // Again and again: an empty batch is no reason to write anew.
  f.put({{"c", "3"}});
  f.seal();
  REQUIRE(f.compact());
  CHECK(f.log->log_start_offset() == 0);
  CHECK(f.text() == "4 a=3, 5 b=3, 6 c=3");
}

TEST_CASE("A map that is too small compacts what it has room for, and the rest the next time") {
  CompactionFixture f;
  f.driver.memory_bytes = 0;
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 40; ++i) f.put({{"k" + std::to_string(i), std::to_string(round)}});
  }
  f.seal();
  int rounds = 0;
  while (f.compact()) {
    REQUIRE(++rounds < 20);
    CHECK(f.log->first_dirty_offset() > 0);
  }
  CHECK(rounds > 2);
  CHECK(f.log->first_dirty_offset() == 80);
  const auto records = f.records();
  REQUIRE(records.size() == 40);
  for (const auto& record : records) CHECK(record.value == "1");
}

TEST_CASE("What can be compacted: dirty, sealed, committed, and old enough") {
  CompactionFixture f;
  const auto range = [&](int64_t now_ms = kNow, int64_t high_watermark = 1000) {
    const auto found = f.log->cleanable(now_ms, high_watermark);
    REQUIRE(found);
    return *found;
  };
  CHECK(!range());
  f.put({{"a", "1", kNow - 500}});
  CHECK(!range());
  f.seal();
  f.put({{"a", "2", kNow - 100}});
  f.seal();
  f.put({{"a", "3"}});
  REQUIRE(range());
  CHECK(range()->first_dirty_offset == 0);
  CHECK(range()->end_offset == 2);
  CHECK(range()->dirty_ratio() == 1.0);
  CHECK(range(kNow, 1)->end_offset == 1);
  CHECK(!range(kNow, 0));
  f.options.config.min_compaction_lag_ms = 200;
  f.log->set_config(f.options.config);
  CHECK(range()->end_offset == 1);
  CHECK(range(kNow + 200)->end_offset == 2);
  CHECK(!range(kNow - 400));
  f.options.config.min_compaction_lag_ms = 0;
  f.options.config.max_compaction_lag_ms = 400;
  f.log->set_config(f.options.config);
  CHECK(range()->overdue_ms == 100);
  CHECK(range(kNow - 150)->overdue_ms == 0);
  REQUIRE(f.compact());
  CHECK(!range());
  f.seal();
  CHECK(range()->dirty_ratio() < 0.6);
  CHECK(range()->dirty_ratio() > 0.3);
  CHECK(range()->first_dirty_offset == 2);
  // Not synced: whoever compacts it syncs it first.
  f.put({{"b", "1"}});
  REQUIRE(f.log->roll(kNow));
  CHECK(range()->end_offset == 4);
  f.options.config.compact = false;
  f.log->set_config(f.options.config);
  CHECK(!range());
}

TEST_CASE("Damage in a segment ends the compaction with its place, and changes nothing") {
  CompactionFixture f;
  f.put({{"a", "1"}});
  f.put({{"a", "2"}, {"b", "1"}});
  f.put({{"a", "3"}});
  f.seal();
  const auto names = f.names();
  Buffer& content = f.files.content(f.segment_path(0));
  const Buffer sound = content;
  const auto expect_damage = [&](size_t where, std::string_view what) {
    const Buffer damaged = content;
    const auto done = f.driver.run(*f.log, kNow, f.log->log_end_offset());
    REQUIRE(!done);
    CHECK(done.error().code == ErrorCode::kCorruptMessage);
    INFO(done.error().message);
    CHECK(done.error().message.find(f.segment_path(0) + " is damaged at byte " + std::to_string(where) +
                                    " (offset 1)") != std::string::npos);
    CHECK(done.error().message.find(what) != std::string::npos);
    CHECK(done.error().message.find("`millrace log verify " + f.options.directory + "`") !=
          std::string::npos);
    CHECK(f.names() == names);
    CHECK(content == damaged);
    CHECK(f.log->first_dirty_offset() == 0);
    content = sound;
  };
  const size_t second = f.batches()[0].second.size();
  content[second + 70] ^= std::byte{1};
  expect_damage(second, "CRC");
  content[second + 16] = std::byte{1};
  expect_damage(second, "magic");
  content[second + 8] = std::byte{1};
  expect_damage(second, "longer");
  content[second + 7] = std::byte{0};
  expect_damage(second, "base offset 0");
  REQUIRE(f.compact());
  CHECK(f.text() == "2 b=1, 3 a=3");
}

TEST_CASE("A full disk gives the compaction up, and it works when there is space again") {
  CompactionFixture f;
  f.put({{"a", "1"}, {"b", "1"}});
  f.put({{"a", "2"}});
  f.seal();
  const auto names = f.names();
  f.files.faults.bytes_until_full = 50;
  const auto done = f.driver.run(*f.log, kNow, f.log->log_end_offset());
  REQUIRE(!done);
  CHECK(done.error().code == ErrorCode::kKafkaStorageError);
  CHECK(f.names() == names);
  f.files.faults.bytes_until_full = -1;
  REQUIRE(f.compact());
  CHECK(f.text() == "1 b=1, 2 a=2");
}

TEST_CASE("A merged segment whose file can't be renamed is dropped with the next compaction") {
  CompactionFixture f;
  f.put_and_seal({"a", "b", "c"});
  const std::string merged = f.segment_path(1);
  bool refuses = true;
  f.files.judge = [&](test::Operation operation, const std::string& path) {
    return refuses && operation == test::Operation::kRename && path == merged ? test::Verdict::kFail
                                                                              : test::Verdict::kProceed;
  };
  CHECK_FALSE(f.driver.run(*f.log, kNow, f.log->log_end_offset()));
  CHECK(f.files.has(merged));
  refuses = false;
  f.put({{"a", "2"}});
  f.seal();
  REQUIRE(f.compact());
  CHECK_FALSE(f.files.has(merged));
  CHECK(f.text() == "1 b=1, 2 c=1, 3 a=2");
}

TEST_CASE("A merged segment whose file can't be renamed is settled before the next merge is announced") {
  CompactionFixture f;
  f.put_and_seal({"a", "b", "c"});
  const std::string merged = f.segment_path(1);
  bool refuses = true;
  bool is_dead = false;
  f.files.judge = [&](test::Operation operation, const std::string& path) {
    const bool fails = is_dead || (refuses && operation == test::Operation::kRename && path == merged);
    return fails ? test::Verdict::kFail : test::Verdict::kProceed;
  };
  CHECK_FALSE(f.driver.run(*f.log, kNow, f.log->log_end_offset()));
  REQUIRE(f.files.has(merged));
  f.put_and_seal({"d", "e"});
  refuses = GENERATE(true, false);
  // The machine stops once the second merge is announced.
  f.driver.intent_persisted = [&] { is_dead = true; };
  CHECK_FALSE(f.driver.run(*f.log, kNow, f.log->log_end_offset()));
  is_dead = refuses = false;
  f.log.reset();
  f.files.crash();
  f.open();
  CHECK(f.text() == "0 a=1, 1 b=1, 2 c=1, 3 d=1, 4 e=1");
}

TEST_CASE("A log that is truncated or shortened meanwhile is left as it is") {
  CompactionFixture f;
  for (int i = 0; i < 4; ++i) {
    f.put({{"a", std::to_string(i)}, {"b", "1"}});
    f.seal();
  }
  f.driver.step_bytes = 1;
  int steps = 0;
  int changes = 0;
  const int at = GENERATE(range(0, 8));
  const bool truncates = GENERATE(true, false);
  f.driver.between = [&] {
    if (steps++ != at) return;
    ++changes;
    if (truncates) {
      REQUIRE(f.log->truncate_to(7, kNow));
    } else {
      f.options.config.delete_old = true;
      f.options.config.retention_bytes = 1;
      f.log->set_config(f.options.config);
      REQUIRE(test::retain(*f.log, f.files, kNow, 4));
    }
  };
  // Nothing is truncated below the high watermark.
  const auto done = f.driver.run(*f.log, kNow, 6);
  REQUIRE(done);
  REQUIRE(changes == 1);
  INFO("step " << at << " of " << steps << (*done ? ", done" : ", given up"));
  CHECK(f.log->log_end_offset() == (truncates ? 6 : 8));
  for (const std::string& name : f.names()) CHECK(name.ends_with(".log"));
  const std::string expected = truncates ? "4 a=2, 5 b=1" : "6 a=3, 7 b=1";
  // Whatever was swapped before: the latest values are there.
  CHECK(f.text().ends_with(expected));
  const std::string text = f.text();
  f.put({{"z", "1"}});
  f.kill_and_open();
  CHECK(f.text() == text + ", " + std::to_string(f.log->log_end_offset() - 1) + " z=1");
  CHECK(f.log->first_dirty_offset() <= (truncates ? 6 : 8));
}

TEST_CASE("Truncation makes dirty what comes behind it, durably") {
  CompactionFixture f;
  f.put({{"a", "1"}, {"b", "1"}});
  f.put({{"b", "2"}, {"c", "1"}});
  f.seal();
  REQUIRE(f.compact());
  CHECK(f.log->first_dirty_offset() == 4);
  REQUIRE(f.log->truncate_to(2, kNow));
  CHECK(f.log->first_dirty_offset() == 2);
  f.put({{"a", "2"}, {"a", "3"}, {"a", "4"}});
  REQUIRE(f.log->flush());
  f.files.crash();
  f.open();
  CHECK(f.log->first_dirty_offset() == 2);
  f.seal();
  REQUIRE(f.compact());
  CHECK(f.text() == "4 a=4");
  REQUIRE(f.log->truncate_fully_and_start_at(2, kNow));
  CHECK(f.log->first_dirty_offset() == 2);
}

TEST_CASE("A checkpoint that can't be read makes all dirty, and is mentioned") {
  CompactionFixture f;
  f.put({{"a", "1"}});
  f.seal();
  REQUIRE(f.compact());
  const std::string path = f.options.directory + "/cleaner-checkpoint";
  REQUIRE(f.files.has(path));
  f.files.content(path) = Buffer(3);
  f.kill_and_open();
  CHECK(f.log->first_dirty_offset() == 0);
  REQUIRE(!f.report.notes.empty());
  CHECK(f.report.notes.back().find("cleaner-checkpoint") != std::string::npos);
}

TEST_CASE("What a compaction plans before a truncation or a removal isn't stored after it") {
  CompactionFixture f;
  const auto checkpoint = f.log->cleaner_checkpoint();
  const uint64_t version = checkpoint->version();
  CHECK(*checkpoint->advance(10, version));
  CHECK(checkpoint->first_dirty_offset() == 10);
  REQUIRE(checkpoint->lower(5));
  CHECK(!*checkpoint->advance(20, version));
  CHECK(!*checkpoint->announce_merge({0, 5}, version));
  CHECK(checkpoint->first_dirty_offset() == 5);
  f.log.reset();
  CHECK(!*checkpoint->advance(20, checkpoint->version()));
  CHECK(CleanerCheckpoint(f.files, f.options.directory).first_dirty_offset() == 5);
}

TEST_CASE("A reader goes on in a file that was replaced") {
  CompactionFixture f;
  f.put({{"a", "1"}, {"b", "1"}});
  f.put({{"a", "2"}});
  f.seal();
  const auto slice = f.log->read(0, 3, 1000, true);
  REQUIRE(slice);
  const Buffer before = f.bytes_of(*slice);
  REQUIRE(f.compact());
  CHECK(f.text() == "1 b=1, 2 a=2");
  CHECK(f.bytes_of(*slice) == before);
}

TEST_CASE("Offsets, timestamps and the largest timestamp are found across holes") {
  CompactionFixture f;
  f.put({{"a", "1", kNow + 100}, {"b", "1", kNow}}, producer(7, 0));
  f.put({{"a", "2", kNow + 10}, {"c", "1", kNow + 20}});
  f.put({{"b", "2", kNow + 5}, {"a", "3", kNow + 15}});
  f.seal();
  REQUIRE(f.compact());
  CHECK(f.text() == "3 c=1, 4 b=2, 5 a=3");
  CHECK(f.log->read(0, 6, 1000, true)->size > 0);
  CHECK((*f.log->offset_for_timestamp(kNow))->offset == 3);
  CHECK(!*f.log->offset_for_timestamp(kNow + 21));
  CHECK((*f.log->max_timestamp())->offset == 3);
  CHECK(f.log->read(6, 6, 1000, true)->size == 0);
  f.kill_and_open();
  CHECK((*f.log->max_timestamp())->offset == 3);
}

}  // namespace
}  // namespace millrace::storage
