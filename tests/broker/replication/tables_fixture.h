// Partition tables of two shards over a metadata cluster, and how their partitions are reached.
#pragma once

#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/replication/partition_table.h"
#include "tests/broker/metadata/test_cluster.h"

namespace millrace::replication::test {

using metadata::TestCluster;
using metadata::TestDirectory;
using PartitionPtr = std::shared_ptr<Partition>;

// The real ones; a test may have renames refused, or held up, and removals, too.
class RefusingFileSystem final : public storage::PosixFileSystem {
 public:
  // By how their former name ends; empty: none. Set while nothing runs.
  std::string refused_suffix;
  std::string refusal = "refused";
  std::atomic<int> refusals = 0;
  std::function<void(const std::string& from)> before_rename;
  std::function<void(const std::string& path)> before_remove;

  Result<> remove(const std::string& path) override {
    if (before_remove) before_remove(path);
    return storage::PosixFileSystem::remove(path);
  }

  Result<> rename(const std::string& from, const std::string& to) override {
    if (before_rename) before_rename(from);
    if (refused_suffix.empty() || !from.ends_with(refused_suffix))
      return storage::PosixFileSystem::rename(from, to);
    ++refusals;
    return fail(ErrorCode::kKafkaStorageError, "can't rename " + from + ": " + refusal);
  }
};

// The tables of two shards, which follow a cluster's images. What is on disk outlives restart().
class Tables {
 public:
  Tables() { start(); }
  ~Tables() { stop(); }

  void restart() {
    stop();
    if (between_starts) between_starts();
    start();
  }
  std::function<void()> between_starts;
  TestCluster& cluster() { return *cluster_; }
  runtime::DiskPool& pool() { return *pool_; }
  RefusingFileSystem& files() { return files_; }
  storage::OffsetIndex& index() { return log_directory_->index(); }
  std::vector<PartitionTable*> all() const {
    std::vector<PartitionTable*> tables;
    for (const auto& table : tables_) tables.push_back(table.get());
    return tables;
  }
  std::filesystem::path topics_path() const { return directory_.path() + "/data/topics"; }

  template <class F>
  auto on(size_t shard, F f) {
    return cluster().shards()[shard].run(std::move(f));
  }
  // What the table of that shard finds.
  PartitionPtr find(size_t shard, const TopicIdPartition& id) {
    return on(shard, [&] { return tables_[shard]->find(id); });
  }
  // Found where it belongs; null, too, when it is found elsewhere.
  PartitionPtr find(const Uuid& topic, int32_t partition) {
    const TopicIdPartition id{topic, partition};
    const size_t home = cluster().shards().index_of(id);
    CHECK(find(1 - home, id) == nullptr);
    return find(home, id);
  }
  size_t size(size_t shard) {
    return on(shard, [&] { return tables_[shard]->size(); });
  }
  template <class F>
  auto at(const Partition& partition, F f) {
    return on(cluster().shards().index_of(partition.id()), std::move(f));
  }

 private:
  void start() {
    auto opened = storage::LogDirectory::open_in_memory(files_, directory_.path() + "/data");
    REQUIRE(opened);
    log_directory_ = std::move(*opened);
    pool_.emplace(2, 2);
    cluster_.emplace(directory_.path() + "/metadata");
    for (size_t shard = 0; shard < 2; ++shard) {
      tables_.push_back(std::make_unique<PartitionTable>(
          cluster().shards()[shard],
          PartitionTable::Options{.shards = cluster().shards(),
                                  .disk_pool = *pool_,
                                  .sync_pool = *pool_,
                                  .files = files_,
                                  .log_directory = *log_directory_,
                                  .static_config = cluster().config(),
                                  .node_id = 1,
                                  .sync_failed = [](const Error& error) { FAIL(error.message); }}));
      cluster().listen(shard, *tables_[shard]);
      on(shard, [&] { tables_[shard]->start(); });
    }
    cluster().start();
  }
  void stop() {
    for (size_t shard = 0; shard < 2; ++shard) {
      CHECK(on(shard, [&] { return tables_[shard]->stop(); }) == 0);
      CHECK(size(shard) == 0);
    }
    cluster_.reset();
    tables_.clear();
    pool_.reset();
    log_directory_.reset();
  }

  TestDirectory directory_;
  RefusingFileSystem files_;
  std::unique_ptr<storage::LogDirectory> log_directory_;
  std::optional<runtime::DiskPool> pool_;
  std::vector<std::unique_ptr<PartitionTable>> tables_;
  std::optional<TestCluster> cluster_;
};

}  // namespace millrace::replication::test
