#include "broker/replication/partition.h"

#include <thread>

#include "tests/broker/replication/partition_fixture.h"

using namespace millrace;
using namespace millrace::replication;
using namespace millrace::replication::test;

TEST_CASE("An append is acknowledged, and shown, once it is synced and not before") {
  PartitionFixture f;
  const auto partition = f.make();
  f.gate.close();
  REQUIRE(f.append(*partition, 3) == ErrorCode::kNone);
  const Acks acks = GENERATE(Acks::kLeader, Acks::kAll);
  auto acknowledged = f.start_waiting(*partition, 3, acks);
  f.gate.wait_for_arrivals(1);
  CHECK(f.high_watermark(*partition) == 0);
  const ReadOutcome before = f.read(*partition, {.fetch_offset = 0});
  CHECK(before.error == ErrorCode::kNone);
  CHECK_FALSE(before.slice);
  CHECK_FALSE(is_ready(acknowledged));
  f.gate.open();
  CHECK(acknowledged.get() == ErrorCode::kNone);
  CHECK(f.high_watermark(*partition) == 3);
  CHECK(f.on_shard([&] { return partition->log().recovery_point(); }) == 3);
  const ReadOutcome after = f.read(*partition, {.fetch_offset = 0});
  CHECK(after.high_watermark == 3);
  CHECK(after.last_stable_offset == 3);
  CHECK(after.slice);
}

TEST_CASE("Who doesn't want to know waits for nothing, and who waits gives up at the deadline") {
  PartitionFixture f;
  const auto partition = f.make();
  f.gate.close();
  REQUIRE(f.append(*partition, 1) == ErrorCode::kNone);
  CHECK(f.wait(*partition, 1, Acks::kNone) == ErrorCode::kNone);
  CHECK(f.wait(*partition, 1, Acks::kAll, kAtOnce) == ErrorCode::kRequestTimedOut);
}

TEST_CASE("A topic that is never synced acknowledges at once, and asks for no sync") {
  PartitionFixture f;
  const auto partition = f.make(0, storage::LogConfig());
  f.gate.close();
  REQUIRE(f.append(*partition, 4) == ErrorCode::kNone);
  CHECK(f.wait(*partition, 4) == ErrorCode::kNone);
  CHECK(f.high_watermark(*partition) == 4);
  CHECK_FALSE(f.on_shard([&] { return partition->sync_requested(); }));
}

TEST_CASE("flush.messages counts records since the last sync") {
  PartitionFixture f;
  storage::LogConfig config;
  config.flush_messages = 4;
  const auto partition = f.make(0, config);
  const auto requested_after = [&](int records) {
    return f.on_shard([&, batch = batch_of(records)]() mutable {
      REQUIRE(partition->append(batch, kNow));
      // The commit loop gets its turn only when this is over.
      return partition->sync_requested();
    });
  };
  CHECK_FALSE(requested_after(3));
  CHECK(requested_after(1));
  f.gate.wait_for_arrivals(1);
  CHECK_FALSE(requested_after(3));
  CHECK(requested_after(9));
}

TEST_CASE("A duplicate doesn't acknowledge what is still on its way to the journal") {
  PartitionFixture f;
  const auto partition = f.make_journaled();
  const int64_t end = f.high_watermark(*partition);
  protocol::BatchBuilder builder{{.producer_id = 7, .producer_epoch = 0, .base_sequence = 0}};
  builder.append(std::nullopt, as_bytes("value"), {}, kNow);
  const Buffer batch = *builder.build();
  const auto append = [&](int64_t flush_messages) {
    return f.on_shard([&] {
      storage::LogConfig config;
      config.flush_messages = flush_messages;
      partition->log().set_config(config);
      Buffer copy = batch;
      return partition->append(copy, kNow)->duplicate;
    });
  };
  f.gate.close();
  CHECK_FALSE(append(1));
  CHECK(append(4));
  CHECK(f.high_watermark(*partition) == end);
  f.gate.open();
  CHECK(f.wait(*partition, end + 1) == ErrorCode::kNone);
}

TEST_CASE("flush.ms has records synced that flush.messages leaves") {
  PartitionFixture f;
  storage::LogConfig config;
  config.flush_ms = 1;
  const auto partition = f.make(0, config);
  const auto recovery_point = [&] { return f.on_shard([&] { return partition->log().recovery_point(); }); };
  for (const int64_t records : {1, 2}) {
    REQUIRE(f.append(*partition, 1) == ErrorCode::kNone);
    f.gate.wait_for_arrivals(static_cast<int>(records));
    // The round ends behind the gate; whoever asked for it is told by nothing but the log.
    while (recovery_point() < records) std::this_thread::yield();
    CHECK(recovery_point() == records);
  }
}

TEST_CASE("A leader epoch that isn't the leader's is fenced or unknown") {
  PartitionFixture f;
  const auto partition = f.make(5);
  f.append_synced(*partition, 1);
  const auto error_of = [&](int32_t epoch) {
    return f.read(*partition, {.fetch_offset = 0, .current_leader_epoch = epoch}).error;
  };
  CHECK(error_of(-1) == ErrorCode::kNone);
  CHECK(error_of(5) == ErrorCode::kNone);
  CHECK(error_of(4) == ErrorCode::kFencedLeaderEpoch);
  CHECK(error_of(6) == ErrorCode::kUnknownLeaderEpoch);
  f.on_shard([&] { partition->set_leader_epoch(3); });
  CHECK(error_of(5) == ErrorCode::kNone);
  f.on_shard([&] { partition->set_leader_epoch(6); });
  CHECK(error_of(5) == ErrorCode::kFencedLeaderEpoch);
  CHECK(error_of(6) == ErrorCode::kNone);
  CHECK(f.read(*partition, {.fetch_offset = 0, .replica_id = 2}).error == ErrorCode::kNotLeaderOrFollower);
}

TEST_CASE("Where an epoch ended is told, and a reader that went another way learns where") {
  PartitionFixture f;
  const auto partition = f.make(5);
  CHECK(f.on_shard([&] { return partition->epoch_of(0); }) == 5);
  f.append_synced(*partition, 2);
  f.on_shard([&] { partition->set_leader_epoch(7); });
  const auto end_of = [&](int32_t epoch) {
    const auto end = f.on_shard([&] { return partition->end_offset_for_epoch(-1, epoch); });
    REQUIRE(end);
    return *end;
  };
  using storage::EpochEndOffset;
  CHECK(end_of(7) == EpochEndOffset{7, 2});
  f.append_synced(*partition, 2);
  CHECK(end_of(4) == EpochEndOffset{4, 0});
  CHECK(end_of(5) == EpochEndOffset{5, 2});
  CHECK(end_of(6) == EpochEndOffset{5, 2});
  CHECK(end_of(7) == EpochEndOffset{7, 4});
  CHECK(end_of(8) == EpochEndOffset{-1, -1});
  CHECK(f.on_shard([&] { return partition->end_offset_for_epoch(6, 5); }).error().code ==
        ErrorCode::kFencedLeaderEpoch);
  CHECK(f.on_shard([&] { return partition->epoch_of(1); }) == 5);
  CHECK(f.on_shard([&] { return partition->epoch_of(2); }) == 7);

  const auto read = [&](int64_t offset, int32_t last_epoch) {
    return f.read(*partition, {.fetch_offset = offset, .last_fetched_epoch = last_epoch});
  };
  CHECK(read(3, 5).diverging_epoch == EpochEndOffset{5, 2});
  CHECK(read(2, 6).diverging_epoch == EpochEndOffset{5, 2});
  CHECK_FALSE(read(3, 5).slice);
  const ReadOutcome same_way = read(2, 5);
  CHECK_FALSE(same_way.diverging_epoch);
  CHECK(same_way.slice);
  CHECK(read(3, 9).error == ErrorCode::kOffsetOutOfRange);
}

TEST_CASE("Reads outside the log are out of range; what isn't synced yet is only not there yet") {
  PartitionFixture f;
  const auto partition = f.make();
  f.append_synced(*partition, 2);
  f.append_synced(*partition, 2);
  f.gate.close();
  REQUIRE(f.append(*partition, 2) == ErrorCode::kNone);
  const auto read = [&](int64_t offset) { return f.read(*partition, {.fetch_offset = offset}); };
  CHECK(read(-1).error == ErrorCode::kOffsetOutOfRange);
  CHECK(read(7).error == ErrorCode::kOffsetOutOfRange);
  for (const int64_t offset : {4, 5, 6}) {
    const ReadOutcome outcome = read(offset);
    CHECK(outcome.error == ErrorCode::kNone);
    CHECK(outcome.high_watermark == 4);
    CHECK_FALSE(outcome.slice);
  }
  REQUIRE(f.on_shard([&] { return partition->delete_records(2); }) == 2);
  CHECK(read(1).error == ErrorCode::kOffsetOutOfRange);
  CHECK(read(2).error == ErrorCode::kNone);
  CHECK(read(2).log_start_offset == 2);
  CHECK(read(2).slice);
}

TEST_CASE("Records are deleted up to the high watermark, forwards, and where the policy allows it") {
  PartitionFixture f;
  const auto partition = f.make();
  f.append_synced(*partition, 2);
  f.append_synced(*partition, 2);
  f.gate.close();
  REQUIRE(f.append(*partition, 2) == ErrorCode::kNone);
  const auto remove_before = [&](int64_t offset) {
    return f.on_shard([&] { return partition->delete_records(offset); });
  };
  const auto code_of = [](const Result<int64_t>& result) {
    return result ? ErrorCode::kNone : result.error().code;
  };
  CHECK(code_of(remove_before(5)) == ErrorCode::kOffsetOutOfRange);
  CHECK(code_of(remove_before(-2)) == ErrorCode::kOffsetOutOfRange);
  CHECK(remove_before(0) == 0);
  CHECK(remove_before(3) == 3);
  CHECK(remove_before(1) == 3);
  CHECK(remove_before(-1) == 4);

  storage::LogConfig compacted = PartitionFixture::synced();
  compacted.delete_old = false;
  const auto other = f.make(0, compacted);
  const auto refused = f.on_shard([&] { return other->delete_records(-1); });
  CHECK(code_of(refused) == ErrorCode::kPolicyViolation);
}

TEST_CASE("A fetch that waits is told of synced records, and of deleted ones") {
  PartitionFixture f;
  const auto partition = f.make();
  const auto waiter = std::make_shared<FetchWaiter>(f.shards[1]);
  const auto watch = std::make_shared<FetchWatch>();
  watch->attach(waiter);
  const auto is_signalled = [&] { return f.shards[1].run([&] { return waiter->wait_until(kAtOnce); }); };
  f.gate.close();
  f.on_shard([&] { partition->wait_for_more(watch, 0); });
  REQUIRE(f.append(*partition, 1) == ErrorCode::kNone);
  f.gate.wait_for_arrivals(1);
  CHECK_FALSE(is_signalled());
  f.gate.open();
  REQUIRE(f.wait(*partition, 1) == ErrorCode::kNone);
  CHECK(is_signalled());
  f.shards[1].run([&] { waiter->rearm(); });
  CHECK_FALSE(is_signalled());
  f.on_shard([&] { partition->wait_for_more(watch, 0); });
  REQUIRE(f.on_shard([&] { return partition->delete_records(1); }) == 1);
  CHECK(is_signalled());
}

TEST_CASE("Removal wakes whoever waits, and leaves nothing to be done") {
  PartitionFixture f;
  const auto partition = f.make();
  f.gate.close();
  REQUIRE(f.append(*partition, 2) == ErrorCode::kNone);
  auto acknowledged = f.start_waiting(*partition, 2);
  const auto waiter = std::make_shared<FetchWaiter>(f.home());
  const auto watch = std::make_shared<FetchWatch>();
  watch->attach(waiter);
  f.gate.wait_for_arrivals(1);
  const auto log = f.on_shard([&] {
    partition->wait_for_more(watch, 0);
    return partition->remove();
  });
  CHECK(log != nullptr);
  CHECK(acknowledged.get() == ErrorCode::kNotLeaderOrFollower);
  CHECK(f.on_shard([&] { return waiter->wait_until(kAtOnce); }));
  // The sync under way ends after the removal.
  f.gate.open();
  f.on_shard([&] { return f.loop().stop(); });
  CHECK(f.high_watermark(*partition) == 0);
  CHECK(f.append(*partition, 1) == ErrorCode::kNotLeaderOrFollower);
  CHECK(f.wait(*partition, 2) == ErrorCode::kNotLeaderOrFollower);
  CHECK(f.read(*partition, {.fetch_offset = 0}).error == ErrorCode::kNotLeaderOrFollower);
  CHECK(f.on_shard([&] { return partition->delete_records(0); }).error().code ==
        ErrorCode::kNotLeaderOrFollower);
  CHECK(f.on_shard([&] { return partition->end_offset_for_epoch(-1, 0); }).error().code ==
        ErrorCode::kNotLeaderOrFollower);
  CHECK_FALSE(f.on_shard([&] { return partition->epoch_of(0); }));
}
