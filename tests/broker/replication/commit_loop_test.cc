#include "broker/replication/commit_loop.h"

#include "tests/broker/replication/partition_fixture.h"

using namespace millrace;
using namespace millrace::replication;
using namespace millrace::replication::test;

namespace {

void append_many(PartitionFixture& f, Partition& partition, int batches) {
  for (int i = 0; i < batches; ++i) REQUIRE(f.append(partition, 1) == ErrorCode::kNone);
}

}  // namespace

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
