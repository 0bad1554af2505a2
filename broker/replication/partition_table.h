// The partitions of one shard: made, changed and removed as the metadata says, tended in the background.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "broker/metadata/metadata_cache.h"
#include "broker/metadata/topic_config.h"
#include "broker/metadata/turn.h"
#include "broker/replication/commit_loop.h"
#include "broker/replication/partition.h"
#include "broker/runtime/disk_pool.h"
#include "broker/runtime/shard_group.h"
#include "storage/log_directory.h"

namespace millrace::replication {

class PartitionTable final : public metadata::ImageListener {
 public:
  struct Options {
    runtime::ShardGroup& shards;
    runtime::DiskPool& disk_pool;
    // For syncs alone, with a thread per shard: on a slow disk they must not hold up what reads and opens.
    runtime::DiskPool& sync_pool;
    storage::FileSystem& files;
    storage::LogDirectory& log_directory;
    const metadata::StaticConfig& static_config;
    int32_t node_id = 0;
    // Must end the process, see CommitLoop.
    std::function<void(const Error&)> sync_failed;
  };

  // What `options` refers to outlives the table.
  PartitionTable(runtime::Shard& shard, Options options);

  // The partition; null if it isn't this shard's, doesn't exist, or its log could not be opened (the log said
  // so).
  std::shared_ptr<Partition> find(const TopicIdPartition& id) const;
  // Why find() has nothing: kKafkaStorageError when the log could not be opened, else kNotLeaderOrFollower.
  ErrorCode absence(const TopicIdPartition& id) const {
    return failed_.contains(id) ? ErrorCode::kKafkaStorageError : ErrorCode::kNotLeaderOrFollower;
  }
  // Partitions whose log could not be opened.
  std::vector<TopicIdPartition> failed() const;
  // How many. Any thread.
  size_t failed_count() const { return failed_count_.load(); }
  size_t size() const { return partitions_.size(); }
  // Logs with cleanup.policy=compact. Any thread.
  size_t compacted_count() const { return compacted_count_.load(); }
  // Calls f(Partition&) for each of these.
  template <class F>
  void for_each_compacted(F&& f) const {
    for (const TopicIdPartition& id : compacted_) f(*partitions_.at(id));
  }
  // `tell` is called, on this shard, when there is another one. Empty: nobody wants to know.
  void when_compacted(std::function<void()> tell) { tell_compacted_ = std::move(tell); }
  // Calls f(Partition&) for each.
  template <class F>
  void for_each(F&& f) const {
    for (const auto& [id, partition] : partitions_) f(*partition);
  }

  // Opens the logs of new topics, retires those of deleted ones, and follows changed configurations.
  runtime::Task<> on_image(metadata::ImagePtr before, metadata::ImagePtr after,
                           const metadata::ImageDelta& delta) override;

  // Deletes what retention no longer keeps of a partition of this shard; while that is being compacted, does
  // so once it isn't (LogCleaner calls this again), since a compaction that loses segments is given up: as
  // Kafka, which never does both to a log at once. Says itself what came of it.
  runtime::Task<> retain(Partition& partition);

  // Starts the commit loop and the background work (retention, rolling by time). Once, on the shard.
  void start();
  // Ends both, and closes every log: after a clean stop the next start reads no segment. No request may be
  // under way. Returns how many logs could not be closed cleanly.
  runtime::Task<size_t> stop();

 private:
  // A log that could not be opened is tried again after this long, then ever less often.
  static constexpr int64_t kFirstRetryMs = 5'000;

  // What a disk job needs to open a log, and what came of it.
  struct Opening {
    TopicIdPartition id;
    int32_t leader_epoch = 0;
    Result<std::unique_ptr<storage::Log>> log = std::unique_ptr<storage::Log>();
    storage::RecoveryReport report;
  };

  bool is_mine(const TopicIdPartition& id) const { return &options_.shards.shard_of(id) == &shard_; }
  runtime::Task<> open_missing(const metadata::TopicImage& topic, const metadata::ClusterImage& image);
  void open_logs(std::span<Opening> openings, const std::string& topic, const storage::LogConfig& config,
                 int64_t expiration_ms, storage::Journal& journal) const;
  Result<> sync_recovered(std::span<Opening> openings) const;
  void open_log(const storage::PartitionDirectory& directory, const storage::LogConfig& config,
                int64_t expiration_ms, storage::Journal& journal, Opening& opening) const;
  void note_failure(const metadata::TopicImage& topic, const Opening& opening);
  void adopt(const metadata::TopicImage& topic, Opening& opening);
  runtime::Task<> retry_failed();
  runtime::Task<> retire(const metadata::TopicImage& topic);
  runtime::Task<> remove_retired();
  void note_compacted(const Partition& partition);
  void reconfigure(const metadata::TopicImage& topic, const metadata::ClusterImage& image);
  runtime::Task<> tend();
  runtime::Task<> tend_all();
  runtime::Task<> tend(Partition& partition);
  runtime::Task<Result<>> sync_names(Partition& partition);
  runtime::Task<> remove_due_files(Partition& partition);
  std::vector<std::shared_ptr<Partition>> all() const;

  runtime::Shard& shard_;
  const Options options_;
  CommitLoop commit_loop_;
  std::unordered_map<TopicIdPartition, std::shared_ptr<Partition>> partitions_;
  std::set<TopicIdPartition> compacted_;
  std::atomic<size_t> compacted_count_ = 0;
  std::function<void()> tell_compacted_;
  std::map<TopicIdPartition, Error> failed_;  // with the reason that the log was told
  bool full_disk_told_ = false;
  int64_t retry_ms_ = kFirstRetryMs;
  int64_t retry_at_ns_ = runtime::kNever;
  metadata::ImagePtr image_;
  // Images and retries open and retire logs one after the other.
  metadata::TurnQueue turns_;
  std::atomic<size_t> failed_count_ = 0;
  const int64_t check_interval_ms_;
  runtime::Notifier wakeup_;
  runtime::Notifier ended_;
  bool stopping_ = false;
  bool tending_ = false;
  bool has_retired_ = false;  // since remove_retired() last began
  bool removing_ = false;
};

}  // namespace millrace::replication
