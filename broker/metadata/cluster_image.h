// What a broker knows of the cluster at one revision of the metadata store: immutable, shared by pointer,
// folded from the store's events. Copying an image shares everything; see chunked_set.h for what a change
// costs.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "broker/metadata/chunked_set.h"
#include "broker/metadata/metadata_store.h"
#include "broker/metadata/topic_settings.h"
#include "protocol/topic_partition.h"
#include "protocol/uuid.h"

namespace millrace::metadata {

constexpr int32_t kNoBroker = -1;
// More partitions than this in one topic are damage, not metadata.
constexpr int32_t kMaxPartitions = 1'000'000;

struct PartitionImage {
  std::vector<int32_t> replicas;
  std::vector<int32_t> isr;
  int32_t leader = kNoBroker;
  int32_t leader_epoch = 0;
  int32_t partition_epoch = 0;
  bool operator==(const PartitionImage&) const = default;
};

struct TopicImage {
  std::string name;
  Uuid id;
  std::vector<PartitionImage> partitions;  // by number, without gaps
  ConfigMap configs;                       // as set; see topic_settings.h for the rest
  bool operator==(const TopicImage&) const = default;

  int16_t replication_factor() const {
    return partitions.empty() ? int16_t{0} : static_cast<int16_t>(partitions[0].replicas.size());
  }
};
using TopicPtr = std::shared_ptr<const TopicImage>;

// __consumer_offsets and the like: clients see the flag, and may not produce.
bool is_internal_topic(std::string_view name);

struct Endpoint {
  std::string listener;  // e.g. "PLAINTEXT"
  std::string host;
  int32_t port = 0;
  std::string security_protocol = "PLAINTEXT";
  bool operator==(const Endpoint&) const = default;
};

struct BrokerImage {
  int32_t id = 0;
  int64_t epoch = 0;  // the create revision of its key
  Uuid incarnation;   // of its process
  std::vector<Endpoint> endpoints;
  std::optional<std::string> rack;
  bool operator==(const BrokerImage&) const = default;
};

// A group's own configurations, as set; there is no image of a group without any.
struct GroupConfigsImage {
  std::string group;
  ConfigMap configs;
  bool operator==(const GroupConfigsImage&) const = default;
};
using GroupConfigsPtr = std::shared_ptr<const GroupConfigsImage>;

struct TopicNameOf {
  std::string_view operator()(const TopicImage& topic) const { return topic.name; }
};
struct TopicIdOf {
  const Uuid& operator()(const TopicImage& topic) const { return topic.id; }
};
struct GroupOf {
  std::string_view operator()(const GroupConfigsImage& configs) const { return configs.group; }
};

class ClusterImage {
 public:
  using Topics = ChunkedSet<TopicPtr, TopicNameOf>;
  using TopicsById = ChunkedSet<TopicPtr, TopicIdOf>;
  using GroupConfigs = ChunkedSet<GroupConfigsPtr, GroupOf>;

  int64_t revision() const { return revision_; }
  const Uuid& cluster_id() const { return cluster_id_; }
  // kNoBroker when nobody holds the lease; the epoch is the create revision of the controller's key.
  int32_t controller_id() const { return controller_id_; }
  int64_t controller_epoch() const { return controller_epoch_; }
  int64_t next_producer_id() const { return next_producer_id_; }

  // In the order of their names.
  const Topics& topics() const { return by_name_; }
  // Null if there is none. The pointers live as long as the image.
  TopicPtr topic(std::string_view name) const;
  TopicPtr topic(const Uuid& id) const;
  const PartitionImage* partition(const TopicIdPartition& id) const;
  int64_t partition_count() const { return partition_count_; }

  const std::map<int32_t, BrokerImage>& brokers() const { return *brokers_; }
  // The dynamic configurations of one broker, and those of all ("" in AlterConfigs); empty if none are set.
  const ConfigMap& broker_configs(int32_t broker_id) const;
  const ConfigMap& cluster_configs() const;
  const std::map<int32_t, ConfigMap>& all_broker_configs() const { return *broker_configs_; }

  // Of the groups that have any, in the order of their names, and of one group; empty if none are set.
  const GroupConfigs& all_group_configs() const { return group_configs_; }
  const ConfigMap& group_configs(std::string_view group) const;

  bool operator==(const ClusterImage& other) const;

 private:
  friend class ImageBuilder;

  int64_t revision_ = 0;
  Uuid cluster_id_;
  int32_t controller_id_ = kNoBroker;
  int64_t controller_epoch_ = 0;
  int64_t next_producer_id_ = 0;
  int64_t partition_count_ = 0;
  Topics by_name_;
  TopicsById by_id_;
  GroupConfigs group_configs_;
  std::shared_ptr<const std::map<int32_t, BrokerImage>> brokers_;
  // kNoBroker is the default of all.
  std::shared_ptr<const std::map<int32_t, ConfigMap>> broker_configs_;

 public:
  ClusterImage();
};
using ImagePtr = std::shared_ptr<const ClusterImage>;

// What differs between two images. A topic deleted and created again appears once, with two ids.
struct TopicChange {
  TopicPtr before;  // null: created
  TopicPtr after;   // null: deleted
};
struct ImageDelta {
  std::vector<TopicChange> topics;
  bool broker_configs = false;  // dynamic configurations: they may change every topic's defaults
  bool group_configs = false;   // of any group; may be true for nothing
  bool brokers = false;
  bool controller = false;
};

// Folds events into the next image. Starts as a (cheap) copy of a base.
class ImageBuilder {
 public:
  explicit ImageBuilder(ImagePtr base);

  // Folds one batch: all events of some transactions, in the store's order. Fails with kCorruptMessage on a
  // value that can't be read (names the key); the rest of the batch is folded all the same.
  Result<> fold(std::span<const Event> events, int64_t revision);
  // The image of a whole range, e.g. at start or after compaction: what isn't in it is gone.
  Result<> fold_range(const RangeResult& range);

  // The image so far, and what differs from the base.
  ImagePtr build() const;
  ImageDelta delta() const;
  bool changed() const { return image_.revision_ != base_->revision_; }

 private:
  Result<> fold_event(const Event& event);
  Result<> fold_topic(std::string_view name, const Event& event);
  Result<> fold_partition(std::string_view rest, const Event& event);
  Result<> fold_config(std::string_view rest, const Event& event);
  void put_group_configs(std::string_view group, ConfigMap configs);
  Result<> fold_broker(std::string_view id, const Event& event);
  Result<> fold_single(const Event& event);
  void put_topic(TopicImage topic);
  void erase_topic(std::string_view name);
  void flush_open_topic();
  TopicImage* open_topic(const TopicPtr& topic);

  ImagePtr base_;
  ClusterImage image_;
  std::set<std::string, std::less<>> touched_;
  bool group_configs_touched_ = false;
  // The topic that the latest events changed: a topic with many partitions is copied once per run of its
  // events.
  std::optional<TopicImage> open_;
};

}  // namespace millrace::metadata
