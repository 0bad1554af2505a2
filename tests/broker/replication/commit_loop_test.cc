#include "broker/replication/commit_loop.h"

#include "tests/broker/replication/partition_fixture.h"

using namespace millrace;
using namespace millrace::replication;
using namespace millrace::replication::test;

namespace {

void append_many(PartitionFixture& f, Partition& partition, int batches) {
  for (int i = 0; i < batches; ++i) REQUIRE(f.append(partition, 1) == ErrorCode::kNone);
}

// A batch of which 41 fill a file of the journal.
void append_large(PartitionFixture& f, Partition& partition, int batches) {
  protocol::BatchBuilder builder{protocol::BatchOptions()};
  const std::string value(400'000, 'v');
  builder.append(std::nullopt, as_bytes(value), {}, kNow);
  const Buffer batch = *builder.build();
  for (int i = 0; i < batches; ++i) {
    auto append = [&] {
      Buffer copy = batch;
      return partition.append(copy, kNow).has_value();
    };
    // Without a file it would be synced, too.
    while (f.on_shard([&] { return f.loop().journal().wants_file(); })) std::this_thread::yield();
    REQUIRE(f.on_shard(append));
    REQUIRE(f.wait(partition, f.on_shard([&] { return partition.log().log_end_offset(); })) ==
            ErrorCode::kNone);
  }
}

// What the journal's files hold: the lowest number that begins one, and the highest needed_from in any.
struct JournalOnDisk {
  uint64_t first_number = UINT64_MAX;
  uint64_t needed_from = 0;
};

JournalOnDisk read_journal(PartitionFixture& f) {
  JournalOnDisk found;
  const std::string directory = f.journal_path();
  const auto entries = f.files.list(directory);
  REQUIRE(entries);
  for (const storage::DirectoryEntry& entry : *entries) {
    const auto content =
        storage::read_file(f.files, directory + "/" + entry.name, storage::JournalDirectory::kFileBytes);
    REQUIRE(content);
    const auto parsed = storage::parse_journal_file(*content);
    if (parsed.groups.empty()) continue;
    found.first_number = std::min(found.first_number, parsed.groups.front().position.number);
    for (const auto& group : parsed.groups)
      found.needed_from = std::max(found.needed_from, group.needed_from);
  }
  return found;
}

}  // namespace

TEST_CASE("A checkpoint gives nothing of the journal up before its sync is done, and does so then") {
  SyncGate segments;
  PartitionFixture f;
  const auto partition = f.make_journaled();
  const auto recovery_point = [&] { return partition->log().recovery_point(); };
  const int64_t begin = f.on_shard(recovery_point);
  struct OpenAtEnd {
    SyncGate& gate;
    ~OpenAtEnd() { gate.open(); }
  } open_at_end{segments};
  segments.close();
  f.files.hold = [&] { segments.pass(); };
  append_large(f, *partition, 45);
  segments.wait_for_arrivals(1);
  append_large(f, *partition, 100);
  const JournalOnDisk during = read_journal(f);
  CHECK(during.first_number == 1);
  CHECK(during.needed_from == 1);
  CHECK(f.on_shard(recovery_point) == begin);
  segments.open();
  JournalOnDisk after = during;
  for (int i = 0; i < 20 && (after.first_number == 1 || after.needed_from == 1); ++i) {
    append_large(f, *partition, 20);
    after = read_journal(f);
  }
  CHECK(after.first_number > 1);
  CHECK(after.needed_from > 1);
}

TEST_CASE(
    "A checkpoint that can't write what a log holds back leaves the journal as it is, and comes again") {
  PartitionFixture f;
  const auto partition = f.make_journaled();
  const auto other = f.make_journaled();
  f.append_synced(*partition, 1);
  const int64_t end = f.high_watermark(*partition);
  f.files.is_full = true;
  append_large(f, *other, 100);
  const JournalOnDisk during = read_journal(f);
  CHECK(during.first_number == 1);
  CHECK(during.needed_from == 1);
  CHECK(f.high_watermark(*partition) == end);
  // Not with each of the rounds that find a full file.
  CHECK(f.files.refused > 0);
  CHECK(f.files.refused < 30);
  CHECK(f.read(*partition, {.fetch_offset = end - 1}).error == ErrorCode::kKafkaStorageError);
  f.files.is_full = false;
  JournalOnDisk after = during;
  for (int i = 0; i < 20 && after.needed_from == 1; ++i) {
    append_large(f, *other, 20);
    after = read_journal(f);
  }
  CHECK(after.needed_from > 1);
  CHECK(f.read(*partition, {.fetch_offset = end - 1}).slice);
  CHECK_FALSE(f.has_failed());
}

TEST_CASE("Appends that arrive during a sync share the next one, and only that acknowledges them") {
  PartitionFixture f;
  const auto one = f.make();
  const auto other = f.make();
  f.gate.close();
  append_many(f, *one, 1);
  f.gate.wait_for_arrivals(1);
  append_many(f, *one, 20);
  append_many(f, *other, 20);
  auto last_of_one = f.start_waiting(*one, 21);
  auto last_of_other = f.start_waiting(*other, 20);

  f.gate.admit_one();
  CHECK(f.wait(*one, 1) == ErrorCode::kNone);
  f.gate.wait_for_arrivals(2);
  CHECK(f.high_watermark(*one) == 1);
  CHECK(f.high_watermark(*other) == 0);
  CHECK_FALSE(is_ready(last_of_one));

  f.gate.open();
  CHECK(last_of_one.get() == ErrorCode::kNone);
  CHECK(last_of_other.get() == ErrorCode::kNone);
  // One for the first append; one for each partition's file for all the others.
  CHECK(f.gate.arrived() == 3);
}

TEST_CASE("A failed sync is reported and acknowledges nothing, and the log takes no more") {
  PartitionFixture f;
  const auto partition = f.make();
  f.append_synced(*partition, 1);
  f.gate.fail_from_now_on();
  REQUIRE(f.append(*partition, 2) == ErrorCode::kNone);
  CHECK(f.sync_failure() == "the disk is gone");
  f.on_shard([&] { return f.loop().stop(); });
  CHECK(f.high_watermark(*partition) == 1);
  CHECK(f.wait(*partition, 3, Acks::kAll, kAtOnce) == ErrorCode::kRequestTimedOut);
  CHECK_FALSE(f.read(*partition, {.fetch_offset = 1}).slice);
  CHECK(f.append(*partition, 1) == ErrorCode::kKafkaStorageError);
}

TEST_CASE("A partition that went away while it waited for its sync holds up nobody") {
  PartitionFixture f;
  const auto stays = f.make();
  const auto goes = f.make();
  f.gate.close();
  append_many(f, *stays, 1);
  f.gate.wait_for_arrivals(1);
  append_many(f, *goes, 1);
  append_many(f, *stays, 1);
  const auto log = f.on_shard([&] { return goes->remove(); });
  f.gate.open();
  CHECK(f.wait(*stays, 2) == ErrorCode::kNone);
  // Nobody synced for the one that went.
  CHECK(f.gate.arrived() == 2);
}

TEST_CASE("Stopping syncs what was asked for before") {
  PartitionFixture f;
  const auto partition = f.make();
  f.gate.close();
  append_many(f, *partition, 1);
  f.gate.wait_for_arrivals(1);
  append_many(f, *partition, 2);
  f.gate.open();
  f.on_shard([&] { return f.loop().stop(); });
  CHECK(f.high_watermark(*partition) == 3);
}

TEST_CASE("One write to the journal makes the records of several partitions durable") {
  PartitionFixture f;
  const auto one = f.make_journaled();
  const auto other = f.make_journaled();
  f.append_synced(*other, 1);
  const int64_t end_of_one = f.high_watermark(*one);
  const int64_t end_of_other = f.high_watermark(*other);
  const int arrived = f.gate.arrived();
  f.gate.close();
  append_many(f, *one, 1);
  f.gate.wait_for_arrivals(arrived + 1);
  append_many(f, *one, 5);
  append_many(f, *other, 5);
  auto of_one = f.start_waiting(*one, end_of_one + 6);
  auto of_other = f.start_waiting(*other, end_of_other + 5);
  CHECK(f.high_watermark(*one) == end_of_one);
  f.gate.admit_one();
  f.gate.wait_for_arrivals(arrived + 2);
  CHECK(f.high_watermark(*one) == end_of_one + 1);
  CHECK(f.high_watermark(*other) == end_of_other);
  f.gate.open();
  CHECK(of_one.get() == ErrorCode::kNone);
  CHECK(of_other.get() == ErrorCode::kNone);
  CHECK(f.gate.arrived() == arrived + 2);
  // The segments are for the checkpoint.
  CHECK(f.on_shard([&] { return other->log().recovery_point(); }) <= end_of_other);
}

TEST_CASE("A failed write to the journal is reported and acknowledges nothing") {
  PartitionFixture f;
  const auto partition = f.make_journaled();
  f.append_synced(*partition, 1);
  const int64_t end = f.high_watermark(*partition);
  f.gate.fail_from_now_on();
  REQUIRE(f.append(*partition, 2) == ErrorCode::kNone);
  CHECK(f.sync_failure() == "the disk is gone");
  f.on_shard([&] { return f.loop().stop(); });
  CHECK(f.high_watermark(*partition) == end);
  CHECK(f.append(*partition, 1) == ErrorCode::kKafkaStorageError);
}

TEST_CASE("A checkpoint syncs the segments and frees the journal's full files") {
  PartitionFixture f;
  const auto partition = f.make_journaled();
  const int64_t begin = f.high_watermark(*partition);
  // More than one file of the journal, less than what makes a checkpoint due by itself.
  const auto batch = [&] {
    protocol::BatchBuilder builder{protocol::BatchOptions()};
    const std::string value(400'000, 'v');
    builder.append(std::nullopt, as_bytes(value), {}, kNow);
    return *builder.build();
  }();
  for (int i = 0; i < 60; ++i) {
    auto append = [&]() mutable {
      Buffer copy = batch;
      return partition->append(copy, kNow).has_value();
    };
    REQUIRE(f.on_shard(append));
    REQUIRE(f.wait(*partition, begin + i + 1) == ErrorCode::kNone);
  }
  auto synced = [&] { return partition->log().recovery_point() > begin; };
  while (!f.on_shard(synced)) std::this_thread::yield();
}
