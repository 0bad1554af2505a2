#include "broker/metadata/cluster_image.h"

#include <algorithm>

#include "broker/metadata/metadata_codec.h"

namespace millrace::metadata {
namespace {

const ConfigMap kNoConfigs;

// Within one revision the order of events is that of their operations, or of nothing (etcd); this one folds.
int rank(const Event& event) {
  const std::string& key = event.entry.key;
  if (key.starts_with(kTopicsPrefix)) return event.is_delete ? 0 : 1;
  if (key.starts_with(kPartitionsPrefix)) return 2;
  return 3;
}

Error with_key(const Event& event, const Error& error) {
  return {error.code, "metadata key " + event.entry.key + ": " + error.message};
}

}  // namespace

bool is_internal_topic(std::string_view name) {
  return name == "__consumer_offsets" || name == "__transaction_state" || name == "__share_group_state";
}

ClusterImage::ClusterImage()
    : brokers_(std::make_shared<const std::map<int32_t, BrokerImage>>()),
      broker_configs_(std::make_shared<const std::map<int32_t, ConfigMap>>()) {}

TopicPtr ClusterImage::topic(std::string_view name) const {
  const TopicPtr* found = by_name_.find(name);
  return found == nullptr ? nullptr : *found;
}

TopicPtr ClusterImage::topic(const Uuid& id) const {
  const TopicPtr* found = by_id_.find(id);
  return found == nullptr ? nullptr : *found;
}

const PartitionImage* ClusterImage::partition(const TopicIdPartition& id) const {
  const TopicPtr* topic = by_id_.find(id.topic_id);
  if (topic == nullptr || id.partition < 0) return nullptr;
  const auto& partitions = (*topic)->partitions;
  return static_cast<size_t>(id.partition) < partitions.size() ? &partitions[id.partition] : nullptr;
}

const ConfigMap& ClusterImage::broker_configs(int32_t broker_id) const {
  const auto at = broker_configs_->find(broker_id);
  return at == broker_configs_->end() ? kNoConfigs : at->second;
}

const ConfigMap& ClusterImage::cluster_configs() const { return broker_configs(kNoBroker); }

const ConfigMap& ClusterImage::group_configs(std::string_view group) const {
  const GroupConfigsPtr* found = group_configs_.find(group);
  return found == nullptr ? kNoConfigs : (*found)->configs;
}

bool ClusterImage::operator==(const ClusterImage& other) const {
  if (revision_ != other.revision_ || cluster_id_ != other.cluster_id_ ||
      controller_id_ != other.controller_id_ || controller_epoch_ != other.controller_epoch_ ||
      next_producer_id_ != other.next_producer_id_ || partition_count_ != other.partition_count_ ||
      *brokers_ != *other.brokers_ || *broker_configs_ != *other.broker_configs_ ||
      by_name_.size() != other.by_name_.size() || by_id_.size() != other.by_id_.size() ||
      group_configs_.size() != other.group_configs_.size()) {
    return false;
  }
  bool same = true;
  by_name_.for_each([&](const TopicPtr& topic) {
    const TopicPtr* named = other.by_name_.find(topic->name);
    const TopicPtr* known = other.by_id_.find(topic->id);
    same = same && named != nullptr && **named == *topic && known != nullptr && **known == *topic;
  });
  group_configs_.for_each([&](const GroupConfigsPtr& configs) {
    const GroupConfigsPtr* twin = other.group_configs_.find(configs->group);
    same = same && twin != nullptr && **twin == *configs;
  });
  return same;
}

ImageBuilder::ImageBuilder(ImagePtr base) : base_(std::move(base)), image_(*base_) {}

Result<> ImageBuilder::fold(std::span<const Event> events, int64_t revision) {
  std::vector<const Event*> order;
  order.reserve(events.size());
  for (const Event& event : events) order.push_back(&event);
  std::ranges::stable_sort(order, [](const Event* a, const Event* b) {
    if (a->entry.mod_revision != b->entry.mod_revision) return a->entry.mod_revision < b->entry.mod_revision;
    return rank(*a) < rank(*b);
  });
  Result<> outcome;
  for (const Event* event : order) {
    if (Result<> folded = fold_event(*event); !folded && outcome) {
      outcome = std::unexpected(with_key(*event, folded.error()));
    }
  }
  flush_open_topic();
  image_.revision_ = std::max(image_.revision_, revision);
  return outcome;
}

Result<> ImageBuilder::fold_range(const RangeResult& range) {
  image_.by_name_.for_each([&](const TopicPtr& topic) { touched_.insert(topic->name); });
  group_configs_touched_ = group_configs_touched_ || !image_.group_configs_.empty();
  const int64_t before = base_->revision();
  image_ = ClusterImage();
  image_.revision_ = before;
  std::vector<Event> events;
  events.reserve(range.entries.size());
  for (const KeyValue& entry : range.entries) events.push_back({false, entry});
  // All as of one revision: what came first within it doesn't matter, but topics go before their partitions.
  for (Event& event : events) event.entry.mod_revision = range.revision;
  return fold(events, range.revision);
}

Result<> ImageBuilder::fold_event(const Event& event) {
  const std::string_view key = event.entry.key;
  if (key.starts_with(kPartitionsPrefix)) return fold_partition(key.substr(kPartitionsPrefix.size()), event);
  if (key.starts_with(kTopicsPrefix)) return fold_topic(key.substr(kTopicsPrefix.size()), event);
  if (key.starts_with(kBrokersPrefix)) return fold_broker(key.substr(kBrokersPrefix.size()), event);
  if (key.starts_with("configs/")) return fold_config(key, event);
  return fold_single(event);
}

Result<> ImageBuilder::fold_topic(std::string_view name, const Event& event) {
  flush_open_topic();
  if (event.is_delete) {
    erase_topic(name);
    return {};
  }
  const Result<Uuid> id = decode_id(event.entry.value);
  if (!id) return std::unexpected(id.error());
  if (const TopicPtr old = image_.topic(name); old && old->id == *id) return {};
  erase_topic(name);
  open_ = TopicImage{.name = std::string(name), .id = *id};
  flush_open_topic();
  return {};
}

// The topic as a copy to change, which flush_open_topic puts back.
TopicImage* ImageBuilder::open_topic(const TopicPtr& topic) {
  if (!open_ || open_->id != topic->id) {
    flush_open_topic();
    open_ = *topic;
  }
  return &*open_;
}

Result<> ImageBuilder::fold_partition(std::string_view rest, const Event& event) {
  const std::optional<TopicIdPartition> id = parse_partition_key(rest);
  if (!id) return fail(ErrorCode::kCorruptMessage, "not a partition's key");
  const TopicPtr topic = image_.topic(id->topic_id);
  // Deleted with its topic; that said it all.
  if (!topic) return {};
  const auto number = static_cast<size_t>(id->partition);
  if (event.is_delete) {
    TopicImage* open = open_topic(topic);
    if (number < open->partitions.size()) open->partitions.resize(number);
    return {};
  }
  Result<PartitionImage> partition = decode_partition(event.entry.value);
  if (!partition) return std::unexpected(partition.error());
  TopicImage* open = open_topic(topic);
  if (number >= open->partitions.size()) {
    if (number >= static_cast<size_t>(kMaxPartitions))
      return fail(ErrorCode::kCorruptMessage, "number too high");
    open->partitions.resize(number + 1);
  }
  open->partitions[number] = std::move(*partition);
  return {};
}

Result<> ImageBuilder::fold_config(std::string_view key, const Event& event) {
  ConfigMap configs;
  if (!event.is_delete) {
    Result<ConfigMap> decoded = decode_configs(event.entry.value);
    if (!decoded) return std::unexpected(decoded.error());
    configs = std::move(*decoded);
  }
  if (key.starts_with(kTopicConfigsPrefix)) {
    flush_open_topic();
    const TopicPtr topic = image_.topic(key.substr(kTopicConfigsPrefix.size()));
    if (topic) open_topic(topic)->configs = std::move(configs);
    return {};
  }
  if (key.starts_with(kGroupConfigsPrefix)) {
    put_group_configs(key.substr(kGroupConfigsPrefix.size()), std::move(configs));
    return {};
  }
  if (!key.starts_with(kBrokerConfigsPrefix)) return {};  // of a kind that a later version knows
  const auto id = parse_broker_config_id(key.substr(kBrokerConfigsPrefix.size()));
  if (!id) return fail(ErrorCode::kCorruptMessage, "not a broker's key");
  auto all = *image_.broker_configs_;
  if (configs.empty()) {
    all.erase(*id);
  } else {
    all[*id] = std::move(configs);
  }
  image_.broker_configs_ = std::make_shared<const std::map<int32_t, ConfigMap>>(std::move(all));
  return {};
}

void ImageBuilder::put_group_configs(std::string_view group, ConfigMap configs) {
  group_configs_touched_ = true;
  if (configs.empty()) {
    image_.group_configs_.erase(group);
    return;
  }
  image_.group_configs_.set(std::make_shared<const GroupConfigsImage>(
      GroupConfigsImage{.group = std::string(group), .configs = std::move(configs)}));
}

Result<> ImageBuilder::fold_broker(std::string_view text, const Event& event) {
  const std::optional<int32_t> id = parse_number(text);
  if (!id) return fail(ErrorCode::kCorruptMessage, "not a broker's key");
  auto brokers = *image_.brokers_;
  if (event.is_delete) {
    brokers.erase(*id);
  } else {
    Result<BrokerImage> broker = decode_broker(event.entry.value);
    if (!broker) return std::unexpected(broker.error());
    broker->id = *id;
    broker->epoch = event.entry.create_revision;
    brokers[*id] = std::move(*broker);
  }
  image_.brokers_ = std::make_shared<const std::map<int32_t, BrokerImage>>(std::move(brokers));
  return {};
}

Result<> ImageBuilder::fold_single(const Event& event) {
  const KeyValue& entry = event.entry;
  if (entry.key == kControllerKey) {
    const Result<int32_t> id = event.is_delete ? kNoBroker : decode_controller(entry.value);
    if (!id) return std::unexpected(id.error());
    image_.controller_id_ = *id;
    image_.controller_epoch_ = event.is_delete ? 0 : entry.create_revision;
  } else if (entry.key == kClusterKey && !event.is_delete) {
    const Result<Uuid> id = decode_id(entry.value);
    if (!id) return std::unexpected(id.error());
    image_.cluster_id_ = *id;
  } else if (entry.key == kProducerIdsKey && !event.is_delete) {
    const Result<int64_t> next = decode_producer_ids(entry.value);
    if (!next) return std::unexpected(next.error());
    image_.next_producer_id_ = *next;
  }
  return {};
}

void ImageBuilder::put_topic(TopicImage topic) {
  touched_.insert(topic.name);
  if (const TopicPtr* old = image_.by_id_.find(topic.id)) {
    image_.partition_count_ -= static_cast<int64_t>((*old)->partitions.size());
  }
  image_.partition_count_ += static_cast<int64_t>(topic.partitions.size());
  const TopicPtr shared = std::make_shared<const TopicImage>(std::move(topic));
  image_.by_name_.set(shared);
  image_.by_id_.set(shared);
}

void ImageBuilder::erase_topic(std::string_view name) {
  const TopicPtr topic = image_.topic(name);
  if (!topic) return;
  touched_.insert(topic->name);
  image_.partition_count_ -= static_cast<int64_t>(topic->partitions.size());
  image_.by_name_.erase(name);
  image_.by_id_.erase(topic->id);
}

void ImageBuilder::flush_open_topic() {
  if (!open_) return;
  TopicImage topic = std::move(*open_);
  open_.reset();
  put_topic(std::move(topic));
}

ImagePtr ImageBuilder::build() const { return std::make_shared<const ClusterImage>(image_); }

ImageDelta ImageBuilder::delta() const {
  ImageDelta delta;
  for (const std::string& name : touched_) {
    TopicChange change{base_->topic(name), image_.topic(name)};
    if (!change.before && !change.after) continue;
    if (change.before && change.after && *change.before == *change.after) continue;
    delta.topics.push_back(std::move(change));
  }
  delta.broker_configs = *base_->broker_configs_ != *image_.broker_configs_;
  delta.group_configs = group_configs_touched_;
  delta.brokers = *base_->brokers_ != *image_.brokers_;
  delta.controller =
      base_->controller_id_ != image_.controller_id_ || base_->controller_epoch_ != image_.controller_epoch_;
  return delta;
}

}  // namespace millrace::metadata
