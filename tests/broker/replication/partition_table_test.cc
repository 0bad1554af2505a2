#include "broker/replication/partition_table.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <optional>

#include "protocol/batch_builder.h"
#include "tests/broker/replication/tables_fixture.h"

using namespace millrace;
using namespace millrace::replication;

namespace {

using metadata::AlterOp;
using metadata::NewTopic;
using metadata::ResourceType;
using test::PartitionPtr;
using test::Tables;

// Appends a record and returns once it is acknowledged.
ErrorCode append(Tables& tables, Partition& partition) {
  const int64_t now_ms = runtime::SystemClock::instance().now_ms();
  protocol::BatchBuilder builder{protocol::BatchOptions()};
  builder.append(std::nullopt, as_bytes("value"), {}, now_ms);
  auto batch = builder.build();
  REQUIRE(batch);
  return tables.at(partition, [&]() -> runtime::Task<ErrorCode> {
    const auto appended = partition.append(*batch, now_ms);
    if (!appended) co_return appended.error().code;
    const Result<> acknowledged =
        co_await partition.wait_acknowledged(appended->last_offset + 1, Acks::kAll, runtime::kNever);
    co_return acknowledged ? ErrorCode::kNone : acknowledged.error().code;
  });
}

}  // namespace

TEST_CASE("Each partition of a new topic is on its shard, and only there; so are added ones") {
  Tables tables;
  const NewTopic orders{.name = "orders", .num_partitions = 8, .replication_factor = 1};
  const auto made = tables.cluster().create(std::vector{orders});
  for (const int32_t count : {8, 12}) {
    if (count == 12) REQUIRE(tables.cluster().grow({"orders", 12, {}}).code == ErrorCode::kNone);
    for (int32_t i = 0; i < count; ++i) {
      const PartitionPtr partition = tables.find(made[0].id, i);
      REQUIRE(partition);
      CHECK(partition->topic() == "orders");
      CHECK(partition->id() == TopicIdPartition{made[0].id, i});
      CHECK(append(tables, *partition) == ErrorCode::kNone);
    }
    CHECK(tables.find(made[0].id, count) == nullptr);
    CHECK(tables.size(0) + tables.size(1) == static_cast<size_t>(count));
    CHECK(tables.size(0) > 0);
    CHECK(tables.size(1) > 0);
  }
}

TEST_CASE("A deleted topic's partitions are removed, files and all, and its name is free") {
  Tables tables;
  const NewTopic orders{.name = "orders", .num_partitions = 3, .replication_factor = 1};
  const auto made = tables.cluster().create(std::vector{orders});
  const PartitionPtr before = tables.find(made[0].id, 1);
  REQUIRE(before);
  REQUIRE(append(tables, *before) == ErrorCode::kNone);
  CHECK(std::filesystem::exists(tables.topics_path() / "orders-1"));

  REQUIRE(tables.cluster().remove({{.name = "orders"}})[0].error.code == ErrorCode::kNone);
  CHECK(tables.find(made[0].id, 1) == nullptr);
  CHECK(tables.size(0) + tables.size(1) == 0);
  CHECK(tables.at(*before, [&] { return before->removed(); }));
  CHECK(append(tables, *before) == ErrorCode::kNotLeaderOrFollower);
  CHECK(std::filesystem::is_empty(tables.topics_path()));

  const auto again = tables.cluster().create(std::vector{orders});
  REQUIRE(again[0].id != made[0].id);
  const PartitionPtr after = tables.find(again[0].id, 1);
  REQUIRE(after);
  CHECK(tables.at(*after, [&] { return after->log().log_end_offset(); }) == 0);
}

TEST_CASE("Logs follow the topic's settings, and the broker's") {
  Tables tables;
  NewTopic orders{.name = "orders", .num_partitions = 1, .replication_factor = 1};
  orders.configs.emplace_back("retention.ms", "7777");
  const auto made = tables.cluster().create(std::vector{orders});
  const PartitionPtr partition = tables.find(made[0].id, 0);
  REQUIRE(partition);
  const auto config = [&] { return tables.at(*partition, [&] { return partition->log().config(); }); };
  CHECK(config().retention_ms == 7777);
  const auto alter = [&](ResourceType type, std::string name, std::string key, std::string value) {
    return tables.cluster()
        .alter(type, std::move(name), {{std::move(key), AlterOp::kSet, std::move(value)}})
        .code;
  };
  REQUIRE(alter(ResourceType::kTopic, "orders", "retention.ms", "8888") == ErrorCode::kNone);
  CHECK(config().retention_ms == 8888);
  REQUIRE(alter(ResourceType::kBroker, "1", "log.segment.bytes", "2097152") == ErrorCode::kNone);
  CHECK(config().segment_bytes == 2097152);
  CHECK(config().retention_ms == 8888);
}

TEST_CASE("After a restart the partitions are there again, with their records shown") {
  Tables tables;
  const auto made =
      tables.cluster().create({NewTopic{.name = "orders", .num_partitions = 4, .replication_factor = 1},
                               NewTopic{.name = "gone", .num_partitions = 1, .replication_factor = 1}});
  for (int32_t i = 0; i < 4; ++i) {
    for (int32_t records = 0; records < i; ++records) {
      REQUIRE(append(tables, *tables.find(made[0].id, i)) == ErrorCode::kNone);
    }
  }
  REQUIRE(tables.cluster().remove({{.name = "gone"}})[0].error.code == ErrorCode::kNone);
  tables.restart();
  CHECK(tables.size(0) + tables.size(1) == 4);
  for (int32_t i = 0; i < 4; ++i) {
    const PartitionPtr partition = tables.find(made[0].id, i);
    REQUIRE(partition);
    CHECK(tables.at(*partition, [&] { return partition->high_watermark(); }) == i);
  }
}
