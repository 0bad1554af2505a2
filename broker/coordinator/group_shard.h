// The group coordinators of one shard: one per partition of __consumer_offsets that this broker leads there.
// They come and go with the metadata.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "broker/coordinator/group_partition.h"
#include "broker/coordinator/image_group_configs.h"
#include "broker/metadata/metadata_cache.h"
#include "broker/runtime/shard_group.h"

namespace millrace::coordinator {

class GroupShard final : public metadata::ImageListener {
 public:
  struct Options {
    runtime::ShardGroup& shards;
    int32_t node_id = 0;
    GroupSettings settings;
    ImageGroupConfigs::Evaluate group_config;
    // Opens the log of a partition that lives on this shard; null if there is none (it could not be opened).
    std::function<std::unique_ptr<CoordinatorLog>(const TopicIdPartition&)> open_log;
  };

  // Register with the metadata after whoever opens the partitions.
  GroupShard(runtime::Shard& shard, Options options) : shard_(shard), options_(std::move(options)) {}

  // Starts and stops coordinators, tells them what topics and what configurations of groups there are, and
  // drops the positions in topics that are gone. Doesn't wait for them to load.
  runtime::Task<> on_image(metadata::ImagePtr before, metadata::ImagePtr after,
                           const metadata::ImageDelta& delta) override;

  // The coordinator of that partition; null if this shard has none: NOT_COORDINATOR.
  std::shared_ptr<GroupPartition> find(int32_t partition) const;

  std::vector<std::shared_ptr<GroupPartition>> all() const;
  const std::map<int32_t, std::shared_ptr<GroupPartition>>& by_number() const { return partitions_; }

  // Ends all of them; open requests are answered NOT_COORDINATOR. Before the partitions are closed.
  runtime::Task<> stop();

 private:
  void reconcile(const metadata::TopicImage& topic);

  runtime::Shard& shard_;
  const Options options_;
  Uuid topic_id_;
  TopicDirectoryPtr topics_;
  GroupConfigsPtr configs_;
  // Of all its groups.
  const std::shared_ptr<GroupMemory> memory_ = std::make_shared<GroupMemory>();
  std::map<int32_t, std::shared_ptr<GroupPartition>> partitions_;
  bool stopped_ = false;
};

}  // namespace millrace::coordinator
