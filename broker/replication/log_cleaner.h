// Compacts the logs of a broker's compacted topics, one at a time, the dirtiest first: Kafka's log cleaner.
//
// Reading and writing run in the disk pool, in steps that leave its threads to others in between; the
// partition's shard only chooses, and swaps finished segments for old ones.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "broker/metadata/broker_settings.h"
#include "broker/replication/partition_table.h"
#include "broker/runtime/disk_pool.h"
#include "broker/runtime/metrics.h"
#include "broker/runtime/notifier.h"
#include "broker/runtime/shard_group.h"
#include "storage/log.h"

namespace millrace::replication {

class LogCleaner {
 public:
  struct Options {
    runtime::ShardGroup& shards;
    std::vector<PartitionTable*> tables;  // by shard
    runtime::DiskPool& disk_pool;
    storage::FileSystem& files;
    storage::OffsetIndex& index;
    // The broker's settings as they are now; called on the home shard.
    std::function<metadata::BrokerConfig()> config;
    // Must end the process, see CommitLoop.
    std::function<void(const Error&)> sync_failed;
  };

  // Lives on the first shard, its home. What `options` refers to outlives it.
  explicit LogCleaner(Options options);

  // Begins to look for dirty logs. Once, on the home shard, as all below.
  void start();
  // Gives up what it is at (it begins anew at the next start) and returns when nothing runs any more.
  runtime::Task<> stop();

  // Under the names that Kafka's metrics have behind a JMX exporter.
  void add_metrics(runtime::MetricsRegistry& registry);

 private:
  struct Candidate {
    TopicIdPartition id;
    size_t shard = 0;
    storage::CleanableRange range;
  };
  struct Survey {
    std::optional<Candidate> best;
    double max_dirty_ratio = 0;
    int64_t max_overdue_ms = 0;
    std::set<TopicIdPartition> failing;  // of failures_, those that are still to be compacted
  };
  // Why a log isn't compacted for now.
  struct Failure {
    std::string reason;
    int64_t retry_ns = 0;  // kNever: it is damaged
  };
  struct Limits {
    size_t memory_bytes = 0;
    double bytes_per_second = 0;
  };
  enum class End { kDone, kGivenUp };
  class Run;

  runtime::Task<> loop();
  runtime::Task<> ask_to_be_told(bool on);
  bool has_compacted() const;
  runtime::Task<bool> clean_dirtiest(const metadata::BrokerConfig& config);
  runtime::Task<Survey> look_around();
  void look_at(const Partition& partition, size_t shard, int64_t now_ms, int64_t now_ns,
               Survey& survey) const;
  void note_failure(const TopicIdPartition& id, const std::string& name, const Error& error,
                    int64_t backoff_ms);
  runtime::Task<Result<>> sync(Partition& partition);
  runtime::Task<Result<End>> clean(std::shared_ptr<Partition> partition, Limits limits);

  runtime::Shard& home() const;

  const Options options_;
  std::map<TopicIdPartition, Failure> failures_;
  std::atomic<bool> stopping_ = false;
  bool running_ = false;
  runtime::Notifier wakeup_;
  runtime::Notifier ended_;
  double max_dirty_ratio_ = 0;
  int64_t max_overdue_ms_ = 0;
};

}  // namespace millrace::replication
