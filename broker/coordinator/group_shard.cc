#include "broker/coordinator/group_shard.h"

#include <string>
#include <utility>
#include <vector>

#include "broker/coordinator/group_partitioning.h"
#include "broker/coordinator/image_topics.h"

namespace millrace::coordinator {

runtime::Task<> GroupShard::on_image(metadata::ImagePtr, metadata::ImagePtr after,
                                     const metadata::ImageDelta& delta) {
  if (stopped_) co_return;
  std::vector<std::shared_ptr<GroupPartition>> retired;
  const metadata::TopicPtr topic = after->topic(kOffsetsTopic);
  if (!partitions_.empty() && (!topic || topic->id != topic_id_)) {
    for (auto& [number, partition] : std::exchange(partitions_, {})) retired.push_back(std::move(partition));
  }
  topics_ = std::make_shared<ImageTopics>(after);
  if (delta.group_configs || !configs_) {
    configs_ = std::make_shared<ImageGroupConfigs>(after, options_.group_config);
    for (const auto& [number, partition] : partitions_) partition->configs_changed(configs_);
  }
  if (topic) {
    topic_id_ = topic->id;
    reconcile(*topic);
  }
  for (const auto& partition : retired) partition->stop();
  std::vector<std::string_view> changed;
  for (const metadata::TopicChange& change : delta.topics)
    changed.push_back(change.after ? change.after->name : change.before->name);
  if (!changed.empty()) {
    for (const auto& [number, partition] : partitions_) partition->topics_changed(topics_, changed);
  }
  for (const metadata::TopicChange& change : delta.topics) {
    const bool gone = change.before && (!change.after || change.after->id != change.before->id);
    if (!gone || change.before->name == kOffsetsTopic) continue;
    for (const auto& [number, partition] : partitions_)
      partition->topic_deleted(change.before->name, change.before->id);
  }
}

void GroupShard::reconcile(const metadata::TopicImage& topic) {
  for (size_t i = 0; i < topic.partitions.size(); ++i) {
    const auto number = static_cast<int32_t>(i);
    const TopicIdPartition id{topic.id, number};
    if (&options_.shards.shard_of(id) != &shard_) continue;
    const bool mine = topic.partitions[i].leader == options_.node_id;
    const auto found = partitions_.find(number);
    if (mine && found == partitions_.end()) {
      auto log = options_.open_log(id);
      if (!log) continue;
      auto partition =
          std::make_shared<GroupPartition>(shard_, std::string(kOffsetsTopic) + "-" + std::to_string(number),
                                           options_.settings, std::move(log), memory_);
      partition->topics_changed(topics_, std::nullopt);
      partition->configs_changed(configs_);
      partition->start();
      partitions_.emplace(number, std::move(partition));
    } else if (!mine && found != partitions_.end()) {
      found->second->stop();
      partitions_.erase(found);
    }
  }
}

std::shared_ptr<GroupPartition> GroupShard::find(int32_t partition) const {
  const auto found = partitions_.find(partition);
  return found == partitions_.end() ? nullptr : found->second;
}

std::vector<std::shared_ptr<GroupPartition>> GroupShard::all() const {
  std::vector<std::shared_ptr<GroupPartition>> partitions;
  for (const auto& [number, partition] : partitions_) partitions.push_back(partition);
  return partitions;
}

runtime::Task<> GroupShard::stop() {
  stopped_ = true;
  const auto partitions = std::exchange(partitions_, {});
  for (const auto& [number, partition] : partitions) partition->stop();
  for (const auto& [number, partition] : partitions) co_await partition->ended();
}

}  // namespace millrace::coordinator
