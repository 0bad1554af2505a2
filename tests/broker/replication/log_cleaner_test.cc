#include "broker/replication/log_cleaner.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <fstream>
#include <thread>

#include "protocol/batch_builder.h"
#include "tests/broker/replication/tables_fixture.h"

using namespace millrace;
using namespace millrace::replication;

namespace {

using metadata::NewTopic;
using test::PartitionPtr;

class Cleaner {
 public:
  Cleaner() {
    config_.log_cleaner_enable = true;
    config_.log_cleaner_backoff_ms = 1;
    config_.log_cleaner_dedupe_buffer_size = 1 << 20;
    config_.log_cleaner_io_max_bytes_per_second = 1e300;
  }
  ~Cleaner() { stop(); }

  void start() {
    cleaner_.emplace(LogCleaner::Options{.shards = tables_.cluster().shards(),
                                         .tables = tables_.all(),
                                         .disk_pool = tables_.pool(),
                                         .files = tables_.files(),
                                         .index = tables_.index(),
                                         .config = [this] { return config_; },
                                         .sync_failed = [](const Error& error) { FAIL(error.message); }});
    cleaner_->add_metrics(registry_);
    tables_.on(0, [&] { cleaner_->start(); });
  }
  void stop() {
    if (!cleaner_) return;
    tables_.on(0, [&] { return cleaner_->stop(); });
    cleaner_.reset();
  }
  test::Tables& tables() { return tables_; }
  metadata::BrokerConfig& config() { return config_; }

  PartitionPtr make(const std::string& name, metadata::ConfigMap configs = {}) {
    configs.emplace("cleanup.policy", "compact");
    NewTopic topic{.name = name, .num_partitions = 1, .replication_factor = 1};
    topic.configs.assign(configs.begin(), configs.end());
    const auto made = tables_.cluster().create(std::vector{topic});
    REQUIRE(made[0].error.code == ErrorCode::kNone);
    const PartitionPtr partition = tables_.find(made[0].id, 0);
    REQUIRE(partition);
    return partition;
  }

  // Puts `rounds` records of each key into a segment of their own.
  void fill(const PartitionPtr& partition, int rounds, size_t value_size = 10) {
    for (int round = 0; round < rounds; ++round) {
      protocol::BatchBuilder builder{protocol::BatchOptions()};
      const std::string value(value_size, 'v');
      for (const char* key : {"a", "b", "c"}) builder.append(as_bytes(key), as_bytes(value), {}, now_ms());
      Buffer batch = *builder.build();
      const ErrorCode appended = tables_.at(*partition, [&]() -> runtime::Task<ErrorCode> {
        const auto info = partition->append(batch, now_ms());
        if (!info) co_return info.error().code;
        const Result<> acknowledged =
            co_await partition->wait_acknowledged(info->last_offset + 1, Acks::kAll, runtime::kNever);
        co_return acknowledged ? ErrorCode::kNone : acknowledged.error().code;
      });
      REQUIRE(appended == ErrorCode::kNone);
    }
    tables_.at(*partition, [&] { REQUIRE(partition->log().roll(now_ms())); });
  }
  int64_t first_dirty(const PartitionPtr& partition) {
    return tables_.at(*partition, [&] { return partition->log().first_dirty_offset(); });
  }
  int64_t size(const PartitionPtr& partition) {
    return tables_.at(*partition, [&] { return partition->log().size_bytes(); });
  }
  std::string metrics() {
    return tables_.on(0, [&] { return registry_.scrape(); });
  }

  template <class F>
  void wait_until(F holds) {
    for (int i = 0; i < 20'000 && !holds(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    REQUIRE(holds());
  }

  static int64_t now_ms() { return runtime::SystemClock::instance().now_ms(); }

 private:
  test::Tables tables_;
  metadata::BrokerConfig config_;
  runtime::MetricsRegistry registry_;
  std::optional<LogCleaner> cleaner_;
};

}  // namespace

TEST_CASE("The cleaner compacts the logs of compacted topics, on every shard") {
  Cleaner f;
  std::vector<PartitionPtr> compacted;
  for (int i = 0; i < 4; ++i) compacted.push_back(f.make("compacted-" + std::to_string(i)));
  const auto deleted = f.make("deleted", {{"cleanup.policy", "delete"}});
  for (const auto& partition : compacted) f.fill(partition, 5);
  f.fill(deleted, 5);
  const int64_t before = f.size(deleted);
  f.start();
  for (const auto& partition : compacted) {
    f.wait_until([&] { return f.first_dirty(partition) == 15; });
    CHECK(f.size(partition) < before / 2);
  }
  CHECK(f.size(deleted) == before);
  f.fill(compacted[2], 5);
  f.wait_until([&] { return f.first_dirty(compacted[2]) == 30; });
}

TEST_CASE("A log is compacted when it is dirty enough, or has waited for max.compaction.lag.ms") {
  Cleaner f;
  const auto clean = f.make("clean", {{"min.cleanable.dirty.ratio", "0.9"}});
  const auto overdue =
      f.make("overdue", {{"min.cleanable.dirty.ratio", "0.9"}, {"max.compaction.lag.ms", "1"}});
  f.start();
  for (const auto& partition : {clean, overdue}) {
    f.fill(partition, 1);
    f.wait_until([&] { return f.first_dirty(partition) == 3; });
    f.fill(partition, 1);
  }
  f.wait_until([&] { return f.first_dirty(overdue) == 6; });
  CHECK(f.first_dirty(clean) == 3);
}

TEST_CASE("A log that becomes compacted while there is no other is noticed") {
  Cleaner f;
  f.start();
  const auto log = f.make("t", {{"cleanup.policy", "delete"}});
  f.fill(log, 5);
  const auto compacted = [&] {
    size_t count = 0;
    for (const auto* table : f.tables().all()) count += table->compacted_count();
    return count;
  };
  CHECK(compacted() == 0);
  const metadata::ConfigChange compact{"cleanup.policy", metadata::AlterOp::kSet, "compact"};
  REQUIRE(f.tables().cluster().alter(metadata::ResourceType::kTopic, "t", {compact}).code ==
          ErrorCode::kNone);
  CHECK(compacted() == 1);
  f.wait_until([&] { return f.first_dirty(log) == 15; });
  REQUIRE(f.tables().cluster().remove({{.name = "t"}}).at(0).error.code == ErrorCode::kNone);
  CHECK(compacted() == 0);
}

TEST_CASE("Retention waits for the compaction of a log, and then takes place at once") {
  Cleaner f;
  // Enough for a few seconds.
  f.config().log_cleaner_io_max_bytes_per_second = 500;
  const auto partition = f.make("t", {{"cleanup.policy", "compact,delete"}, {"retention.bytes", "0"}});
  f.fill(partition, 5);
  const auto segments = [&] {
    return f.tables().at(*partition, [&] { return partition->log().segment_count(); });
  };
  const size_t before = segments();
  f.start();
  f.wait_until([&] { return f.tables().at(*partition, [&] { return partition->compacting(); }); });
  PartitionTable& table = *f.tables().all()[f.tables().cluster().shards().index_of(partition->id())];
  f.tables().at(*partition, [&] { return table.retain(*partition); });
  CHECK(segments() == before);
  f.wait_until([&] { return f.first_dirty(partition) == 15; });
  const auto log_start = [&] {
    return f.tables().at(*partition, [&] { return partition->log().log_start_offset(); });
  };
  f.wait_until([&] { return log_start() == 15; });
  CHECK(f.metrics().find("uncleanable_partitions_count 0") != std::string::npos);
}

TEST_CASE("Without log.cleaner.enable nothing is compacted") {
  Cleaner f;
  f.config().log_cleaner_enable = false;
  const auto partition = f.make("t");
  f.fill(partition, 5);
  f.start();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  f.stop();
  CHECK(f.first_dirty(partition) == 0);
}

TEST_CASE("A damaged log is left out, and counted; the others go on") {
  Cleaner f;
  const auto damaged = f.make("damaged");
  const auto sound = f.make("sound");
  f.fill(damaged, 5);
  const auto path = f.tables().topics_path() / "damaged-0" / storage::Segment::file_name(0);
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(70);
    file.put('!');
  }
  f.start();
  constexpr std::string_view kCount = "kafka_log_logcleanermanager_uncleanable_partitions_count 1";
  f.wait_until([&] { return f.metrics().find(kCount) != std::string::npos; });
  f.fill(sound, 5);
  f.wait_until([&] { return f.first_dirty(sound) == 15; });
  CHECK(f.first_dirty(damaged) == 0);
  // Nor is it counted when it is gone.
  REQUIRE(f.tables().cluster().remove({{.name = "damaged"}}).at(0).error.code == ErrorCode::kNone);
  f.wait_until([&] { return f.metrics().find(kCount) == std::string::npos; });
}

TEST_CASE("A compacted segment that can't take its place leaves nothing behind, and is made again later") {
  Cleaner f;
  f.config().log_cleaner_backoff_ms = 600'000;
  const auto partition = f.make("t");
  f.fill(partition, 5);
  f.tables().files().refused_suffix = storage::CompactedSegment::kSuffix;
  f.start();
  f.wait_until([&] { return f.tables().files().refusals == 1; });
  const auto cleaned = f.tables().topics_path() / "t-0" /
                       (storage::Segment::file_name(0) + std::string(storage::CompactedSegment::kSuffix));
  f.wait_until([&] { return !std::filesystem::exists(cleaned); });
  f.stop();
  CHECK(f.first_dirty(partition) == 0);
  f.tables().files().refused_suffix.clear();
  f.start();
  f.wait_until([&] { return f.first_dirty(partition) == 15; });
}

TEST_CASE("A topic that is deleted while it is compacted is gone, and the cleaner goes on") {
  Cleaner f;
  // So slow that it is under way when the topic goes.
  f.config().log_cleaner_io_max_bytes_per_second = 200'000;
  const auto doomed = f.make("doomed");
  for (int i = 0; i < 8; ++i) f.fill(doomed, 1, 20'000);
  f.start();
  f.wait_until([&] {
    return std::filesystem::exists(f.tables().topics_path() / "doomed-0" /
                                   (storage::Segment::file_name(0) + ".cleaned")) ||
           f.first_dirty(doomed) > 0;
  });
  REQUIRE(f.tables().cluster().remove({{.name = "doomed"}}).at(0).error.code == ErrorCode::kNone);
  const auto again = f.make("doomed");
  f.fill(again, 5);
  f.wait_until([&] { return f.first_dirty(again) == 15; });
}

TEST_CASE("A stop ends a compaction that is throttled, and the next start compacts the rest") {
  Cleaner f;
  f.config().log_cleaner_io_max_bytes_per_second = 1000;
  const auto partition = f.make("t");
  for (int i = 0; i < 4; ++i) f.fill(partition, 1, 30'000);
  f.start();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  f.stop();
  CHECK(f.first_dirty(partition) == 0);
  for (const auto& entry : std::filesystem::directory_iterator(f.tables().topics_path() / "t-0"))
    CHECK(entry.path().extension() != ".cleaned");
  f.config().log_cleaner_io_max_bytes_per_second = 1e300;
  f.start();
  f.wait_until([&] { return f.first_dirty(partition) == 12; });
}
