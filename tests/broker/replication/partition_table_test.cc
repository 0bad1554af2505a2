#include "broker/replication/partition_table.h"

#include <sys/resource.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <future>
#include <optional>
#include <thread>

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

constexpr size_t kLargeRecord = 1'000'000;

// Appends a record and returns once it is acknowledged.
ErrorCode append(Tables& tables, Partition& partition, const std::string& value = "value") {
  const int64_t now_ms = runtime::SystemClock::instance().now_ms();
  protocol::BatchBuilder builder{protocol::BatchOptions()};
  builder.append(std::nullopt, as_bytes(value), {}, now_ms);
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

PartitionPtr one_record_in(Tables& tables, const std::string& topic) {
  const NewTopic wanted{.name = topic, .num_partitions = 1, .replication_factor = 1};
  const auto made = tables.cluster().create(std::vector{wanted});
  PartitionPtr partition = tables.find(made[0].id, 0);
  REQUIRE(partition);
  REQUIRE(append(tables, *partition) == ErrorCode::kNone);
  return partition;
}

// With a record each.
PartitionPtr four_segments_in(Tables& tables, const std::string& topic, int64_t now_ms) {
  PartitionPtr partition = one_record_in(tables, topic);
  for (int i = 0; i < 3; ++i) {
    REQUIRE(tables.at(*partition, [&] { return partition->log().roll(now_ms); }));
    REQUIRE(append(tables, *partition) == ErrorCode::kNone);
  }
  return partition;
}

ErrorCode remove_topic(Tables& tables, const std::string& topic) {
  return tables.cluster().remove({{.name = topic}})[0].error.code;
}

// Whether it comes true within a minute.
template <class F>
bool eventually(F f) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!f()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

// Of this process, while it lives.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t count) {
    REQUIRE(getrlimit(RLIMIT_NOFILE, &before_) == 0);
    rlimit lower = before_;
    lower.rlim_cur = count;
    REQUIRE(setrlimit(RLIMIT_NOFILE, &lower) == 0);
  }
  ~DescriptorLimit() { (void)setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

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
  CHECK(eventually([&] { return std::filesystem::is_empty(tables.topics_path()); }));

  const auto again = tables.cluster().create(std::vector{orders});
  REQUIRE(again[0].id != made[0].id);
  const PartitionPtr after = tables.find(again[0].id, 1);
  REQUIRE(after);
  CHECK(tables.at(*after, [&] { return after->log().log_end_offset(); }) == 0);
}

TEST_CASE("What comes after a topic's deletion doesn't wait until its files are removed") {
  std::promise<void> go_on;
  const std::shared_future<void> goes_on = go_on.get_future().share();
  std::atomic<int> removals = 0;
  std::atomic<bool> was_kept = true;
  Tables tables;
  (void)one_record_in(tables, "orders");
  tables.files().before_remove = [&](const std::string& path) {
    // Those of the directory itself; before it has this name, what stood in its way is removed.
    if (!path.ends_with("-delete") || !std::filesystem::exists(path)) return;
    ++removals;
    if (goes_on.wait_for(std::chrono::seconds(10)) != std::future_status::ready) was_kept = false;
  };
  REQUIRE(remove_topic(tables, "orders") == ErrorCode::kNone);
  (void)one_record_in(tables, "clicks");
  go_on.set_value();
  CHECK(eventually([&] {
    return std::ranges::none_of(
        std::filesystem::directory_iterator(tables.topics_path()),
        [](const auto& entry) { return entry.path().filename().string().starts_with("orders"); });
  }));
  CHECK(removals > 0);
  CHECK(was_kept);
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

TEST_CASE("What a start had to read is covered by the index before long, though nobody appends") {
  Tables tables;
  const PartitionPtr before = one_record_in(tables, "orders");
  const TopicIdPartition id = before->id();
  // As much as makes a checkpoint due.
  for (size_t bytes = 0; bytes < Checkpointer::kMaxBytes; bytes += kLargeRecord) {
    REQUIRE(append(tables, *before, std::string(kLargeRecord, 'v')) == ErrorCode::kNone);
  }
  // With a new index.
  tables.restart();
  const PartitionPtr after = tables.find(id.topic_id, id.partition);
  REQUIRE(after);
  const int64_t end_offset = tables.at(*after, [&] { return after->log().log_end_offset(); });
  CHECK(eventually([&] {
    const auto summaries = tables.index().summaries(id);
    return summaries && summaries->size() == 1 && summaries->front().synced &&
           summaries->front().next_offset == end_offset;
  }));
}

TEST_CASE("A sync of a log that was deleted meanwhile is no failure, and one of a log that is there is") {
  Tables tables;
  const auto dirty_of = [&](const PartitionPtr& partition) {
    const auto dirty = tables.at(*partition, [&] {
      CHECK(partition->log().roll(runtime::SystemClock::instance().now_ms()));
      return partition->log().dirty_files();
    });
    REQUIRE(dirty);
    REQUIRE_FALSE(dirty->directory.empty());
    return *dirty;
  };
  const auto deleted = dirty_of(one_record_in(tables, "deleted"));
  REQUIRE(remove_topic(tables, "deleted") == ErrorCode::kNone);
  REQUIRE_FALSE(std::filesystem::exists(deleted.directory));
  CHECK(deleted.sync(tables.files()));
  const auto moved = dirty_of(one_record_in(tables, "moved"));
  std::filesystem::rename(moved.directory, moved.directory + ".elsewhere");
  CHECK_FALSE(moved.sync(tables.files()));
  std::filesystem::rename(moved.directory + ".elsewhere", moved.directory);
}

TEST_CASE("A topic that is deleted while its checkpoint is written doesn't hold up its shard") {
  Tables tables;
  const PartitionPtr partition = one_record_in(tables, "orders");
  auto checkpointing = tables.at(*partition, [&] {
    CHECK(partition->log().roll(runtime::SystemClock::instance().now_ms()));
    return partition->log().begin_checkpoint();
  });
  REQUIRE(checkpointing);
  REQUIRE(checkpointing->file);
  std::promise<void> writing, go_on;
  std::atomic<bool> was_kept = false;
  tables.files().before_rename = [&, held = false](const std::string& from) mutable {
    if (held || !from.ends_with("log-checkpoint.tmp")) return;
    held = true;
    writing.set_value();
    was_kept = go_on.get_future().wait_for(std::chrono::seconds(10)) == std::future_status::ready;
  };
  std::thread writer([&] { checkpointing->store(); });
  writing.get_future().wait();
  auto removed = std::async(std::launch::async, [&] { return remove_topic(tables, "orders"); });
  // The shard answers while the deletion waits.
  CHECK(eventually([&] { return tables.at(*partition, [&] { return partition->removed(); }); }));
  go_on.set_value();
  writer.join();
  CHECK(was_kept);
  CHECK(removed.get() == ErrorCode::kNone);
  CHECK(eventually([&] { return std::filesystem::is_empty(tables.topics_path()); }));
}

TEST_CASE("A log that can't be opened at a start is tried again before long") {
  Tables tables;
  const PartitionPtr before = one_record_in(tables, "orders");
  const TopicIdPartition id = before->id();
  const auto segment = tables.topics_path() / "orders-0" / "00000000000000000000.log";
  const auto elsewhere = tables.topics_path() / "elsewhere.log";
  tables.between_starts = [&] {
    std::filesystem::rename(segment, elsewhere);
    std::filesystem::create_directory(segment);
  };
  tables.restart();
  CHECK(tables.find(id.topic_id, id.partition) == nullptr);
  std::filesystem::remove(segment);
  std::filesystem::rename(elsewhere, segment);
  CHECK(eventually([&] { return tables.find(id.topic_id, id.partition) != nullptr; }));
}

TEST_CASE("More partitions than descriptors can all be written to") {
  Tables tables;
  constexpr int32_t kPartitions = 300;
  const NewTopic orders{.name = "orders", .num_partitions = kPartitions, .replication_factor = 1};
  const auto made = tables.cluster().create(std::vector{orders});
  const DescriptorLimit limit(160);
  int32_t written = 0;
  for (int32_t i = 0; i < kPartitions; ++i) {
    const PartitionPtr partition = tables.find(made[0].id, i);
    REQUIRE(partition);
    if (eventually([&] { return append(tables, *partition) == ErrorCode::kNone; })) ++written;
    if (written <= i) break;
  }
  CHECK(written == kPartitions);
}

TEST_CASE("Retention that has no room for another name waits for the next check") {
  Tables tables;
  const int64_t now_ms = runtime::SystemClock::instance().now_ms();
  const PartitionPtr partition = four_segments_in(tables, "orders", now_ms);
  const auto delete_expired = [&] {
    return tables.at(*partition, [&] {
      storage::LogConfig config = partition->log().config();
      config.retention_ms = 1;
      partition->log().set_config(config);
      return partition->log().delete_expired(now_ms + 100'000, 2).has_value();
    });
  };
  const auto start = [&] {
    return tables.at(*partition, [&] { return partition->log().log_start_offset(); });
  };
  tables.files().refused_suffix = "1.log";
  tables.files().refusal = "No space left on device; free disk space or lower the topics' retention";
  CHECK_FALSE(delete_expired());
  CHECK(start() == 1);
  CHECK(append(tables, *partition) == ErrorCode::kNone);
  tables.files().refused_suffix.clear();
  CHECK(delete_expired());
  CHECK(start() == 2);
}

TEST_CASE("A deletion of records that fails doesn't go back before what retention has left") {
  Tables tables;
  const int64_t now_ms = runtime::SystemClock::instance().now_ms();
  const PartitionPtr partition = four_segments_in(tables, "orders", now_ms);
  const int64_t start = tables.at(*partition, [&] {
    storage::Log& log = partition->log();
    const auto deletion = log.begin_delete_records(2);
    REQUIRE(deletion);
    const auto expired = log.delete_expired(now_ms, 4);
    REQUIRE(expired);
    CHECK(expired->by_start_offset == 2);
    CHECK_FALSE(log.finish_delete_records(*deletion, fail(ErrorCode::kKafkaStorageError, "full")));
    return log.log_start_offset();
  });
  CHECK(start == 2);
}
