// Reads everything that is stored, slowly and again and again, so that damage is found before a reader does.
//
// One segment of one log at a time, in the pool of cold reads. What is damaged isn't served any more
// (storage::Log::note_damage), is told to the log once and counted in the metrics. Of the active segment the
// part is looked at that the last checkpoint synced: recovery reads what comes behind.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <vector>

#include "broker/metadata/broker_settings.h"
#include "broker/replication/partition_table.h"
#include "broker/runtime/disk_pool.h"
#include "broker/runtime/metrics.h"
#include "broker/runtime/notifier.h"
#include "broker/runtime/shard_group.h"
#include "storage/log.h"

namespace millrace::replication {

class Scrubber {
 public:
  struct Options {
    runtime::ShardGroup& shards;
    std::vector<PartitionTable*> tables;  // by shard
    runtime::DiskPool& disk_pool;
    storage::FileSystem& files;
    storage::OffsetIndex& index;
    // The broker's settings as they are now; called on the home shard.
    std::function<metadata::BrokerConfig()> config;
  };

  // Lives on the first shard, its home. What `options` refers to outlives it.
  explicit Scrubber(Options options) : options_(std::move(options)) {}

  // Begins its first pass a minute later, or after log.scrub.interval.ms if that is less. Once, on the home
  // shard, as stop().
  void start();
  // Returns when nothing runs any more.
  runtime::Task<> stop();

  // millrace_log_damaged_ranges, millrace_scrub_bytes_total, millrace_scrub_passes_total.
  void add_metrics(runtime::MetricsRegistry& registry);

 private:
  struct Target {
    size_t shard = 0;
    TopicIdPartition id;
  };

  runtime::Task<> loop();
  runtime::Task<> pass(int64_t interval_ms);
  runtime::Task<> scrub(Target target, double bytes_per_ms);
  runtime::Task<> scrub(Partition& partition, const storage::SealedSegment& segment, double bytes_per_ms);
  // Whether any of it is news.
  bool report(Partition& partition, const storage::SegmentSurvey& survey);
  runtime::Task<> rest(double ms);

  runtime::Shard& home() const { return options_.shards[0]; }

  const Options options_;
  std::atomic<bool> stopping_ = false;
  std::atomic<int64_t> bytes_ = 0;
  std::atomic<int64_t> passes_ = 0;
  bool running_ = false;
  runtime::Notifier wakeup_;
  runtime::Notifier ended_;
};

}  // namespace millrace::replication
