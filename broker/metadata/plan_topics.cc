#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "broker/metadata/metadata_codec.h"
#include "broker/metadata/plan.h"
#include "broker/metadata/replica_placement.h"

namespace millrace::metadata {
namespace {

// The log of a KRaft cluster's metadata, which clients of ours may know by name.
constexpr std::string_view kClusterMetadataTopic = "__cluster_metadata";

bool has_collision_character(std::string_view name) {
  return name.find_first_of("._") != std::string_view::npos;
}

// Metrics turn '.' into '_', so two topics that differ in nothing else can't be told apart there.
std::string collision_name(std::string_view name) {
  std::string out(name);
  std::ranges::replace(out, '.', '_');
  return out;
}

// A topic of the image whose name collides, or null. Costs a pass over all names, for names that can collide.
TopicPtr colliding_topic(const ClusterImage& image, std::string_view name) {
  if (!has_collision_character(name)) return nullptr;
  const std::string wanted = collision_name(name);
  // What comes before the first '.' or '_' is the same in both: names that start with it are neighbours.
  const std::string_view stem = name.substr(0, name.find_first_of("._"));
  TopicPtr found;
  image.topics().for_each_from(stem, [&](const TopicPtr& topic) {
    if (!topic->name.starts_with(stem)) return false;
    if (topic->name.size() == wanted.size() && collision_name(topic->name) == wanted) found = topic;
    return found == nullptr;
  });
  return found;
}

std::unexpected<Error> invalid_topic(std::string why) {
  return fail(ErrorCode::kInvalidTopicException, std::move(why));
}

Result<> check_new_name(const PlanContext& context, std::string_view name) {
  if (name == kClusterMetadataTopic) {
    return fail(ErrorCode::kInvalidRequest,
                fmt::format("Creation of internal topic {} is prohibited.", name));
  }
  if (const auto why = check_topic_name(name)) return invalid_topic("Topic name is invalid: " + *why);
  if (context.image.topic(name)) {
    return fail(ErrorCode::kTopicAlreadyExists, fmt::format("Topic '{}' already exists.", name));
  }
  if (const TopicPtr other = colliding_topic(context.image, name)) {
    return invalid_topic(fmt::format("Topic '{}' collides with existing topic: {}", name, other->name));
  }
  return {};
}

Result<ConfigMap> new_configs(const PlanContext& context, const NewTopic& topic) {
  ConfigMap configs;
  for (const auto& [name, value] : topic.configs) {
    if (!value) return fail(ErrorCode::kInvalidConfig, "Null value not supported for topic configs: " + name);
    configs[name] = *value;
  }
  const BrokerValue broker = broker_values(context.config, context.image, context.node_id);
  if (Result<> checked = check_topic_configs(configs, broker); !checked)
    return std::unexpected(checked.error());
  return configs;
}

Result<Replicas> assigned_replicas(const PlanContext& context, const NewTopic& topic) {
  if (topic.replication_factor != -1) {
    return fail(ErrorCode::kInvalidRequest,
                "A manual partition assignment was specified, but replication factor was not set to -1.");
  }
  if (topic.num_partitions != -1) {
    return fail(ErrorCode::kInvalidRequest,
                "A manual partition assignment was specified, but numPartitions was not set to -1.");
  }
  std::map<int32_t, std::vector<int32_t>> by_partition;
  int replication_factor = -1;
  for (const NewTopicAssignment& assignment : topic.assignments) {
    if (by_partition.contains(assignment.partition)) {
      return fail(
          ErrorCode::kInvalidReplicaAssignment,
          fmt::format("Found multiple manual partition assignments for partition {}", assignment.partition));
    }
    if (Result<> checked = check_replicas(context.image, assignment.brokers, replication_factor); !checked) {
      return std::unexpected(checked.error());
    }
    replication_factor = static_cast<int>(assignment.brokers.size());
    by_partition[assignment.partition] = assignment.brokers;
  }
  Replicas replicas;
  for (auto& [partition, brokers] : by_partition) {
    if (partition != static_cast<int32_t>(replicas.size())) {
      return fail(ErrorCode::kInvalidReplicaAssignment,
                  "partitions should be a consecutive 0-based integer sequence");
    }
    replicas.push_back(std::move(brokers));
  }
  return replicas;
}

int32_t static_number(const PlanContext& context, std::string_view name) {
  return static_cast<int32_t>(parse_integer(context.config.get(name).value_or("1")));
}

Result<Replicas> new_replicas(const PlanContext& context, const NewTopic& topic) {
  if (!topic.assignments.empty()) return assigned_replicas(context, topic);
  if (topic.replication_factor < -1 || topic.replication_factor == 0) {
    return fail(ErrorCode::kInvalidReplicationFactor,
                "Replication factor must be larger than 0, or -1 to use the default value.");
  }
  if (topic.num_partitions < -1 || topic.num_partitions == 0) {
    return fail(ErrorCode::kInvalidPartitions,
                "Number of partitions was set to an invalid non-positive value.");
  }
  const int32_t partitions =
      topic.num_partitions == -1 ? static_number(context, "num.partitions") : topic.num_partitions;
  const int32_t factor = topic.replication_factor == -1 ? static_number(context, "default.replication.factor")
                                                        : topic.replication_factor;
  return place_replicas(context.image, partitions, static_cast<int16_t>(factor), context.random);
}

int64_t partitions_asked_for(const PlanContext& context, const std::vector<NewTopic>& topics) {
  int64_t total = 0;
  for (const NewTopic& topic : topics) {
    if (!topic.assignments.empty()) {
      total += static_cast<int64_t>(topic.assignments.size());
    } else if (topic.num_partitions == -1) {
      total += static_number(context, "num.partitions");
    } else {
      total += std::max(topic.num_partitions, 0);
    }
  }
  return total;
}

Result<> create_topic(const PlanContext& context, const NewTopic& topic, CreateTopicResult& result,
                      Transaction& transaction) {
  if (Result<> checked = check_new_name(context, topic.name); !checked) return checked;
  const Result<ConfigMap> configs = new_configs(context, topic);
  if (!configs) return std::unexpected(configs.error());
  const Result<Replicas> replicas = new_replicas(context, topic);
  if (!replicas) return std::unexpected(replicas.error());

  result.id = context.random.uuid();
  result.num_partitions = static_cast<int32_t>(replicas->size());
  result.replication_factor = static_cast<int16_t>(replicas->front().size());
  result.configs = ConfigDescriber(context.config, context.node_id).topic(context.image, *configs);
  transaction.compares.push_back({topic_key(topic.name), Compare::Target::kVersion, 0});
  auto& operations = transaction.operations;
  operations.push_back(Operation::put(topic_key(topic.name), encode_id(result.id)));
  for (int32_t p = 0; p < result.num_partitions; ++p) {
    operations.push_back(Operation::put(
        partition_key({result.id, p}), encode_partition(new_partition((*replicas)[static_cast<size_t>(p)]))));
  }
  if (!configs->empty())
    operations.push_back(Operation::put(topic_config_key(topic.name), encode_configs(*configs)));
  return {};
}

// Names that occur more than once.
template <class T, class NameOf>
std::set<std::string> duplicates(const std::vector<T>& items, NameOf&& name_of) {
  std::set<std::string> seen, twice;
  for (const T& item : items) {
    if (!seen.insert(name_of(item)).second) twice.insert(name_of(item));
  }
  return twice;
}

Result<TopicPtr> find_doomed(const PlanContext& context, const DeleteTopic& topic) {
  if (topic.name && !topic.id.is_zero()) {
    return fail(ErrorCode::kInvalidRequest, "You may not specify both topic name and topic id.");
  }
  if (!topic.name && topic.id.is_zero()) {
    return fail(ErrorCode::kInvalidRequest, "Neither topic name nor id were specified.");
  }
  const TopicPtr found = topic.name ? context.image.topic(*topic.name) : context.image.topic(topic.id);
  if (found) return found;
  if (!topic.name) return fail(ErrorCode::kUnknownTopicId, "This server does not host this topic ID.");
  return fail(ErrorCode::kUnknownTopicOrPartition, "This server does not host this topic-partition.");
}

// Topics that one request names more than once; each is answered once. What is named by name and by id is
// answered by its name.
class DoomedTwice {
 public:
  DoomedTwice(const ClusterImage& image, const std::vector<DeleteTopic>& topics) {
    for (const DeleteTopic& topic : topics) {
      if (topic.name.has_value() != topic.id.is_zero()) continue;
      if (topic.name) {
        ++names_[*topic.name];
        if (const TopicPtr found = image.topic(*topic.name)) ids_of_names_.insert(found->id);
      } else {
        ++ids_[topic.id];
      }
    }
  }

  // Whether the request tells this topic's id, so that an answer may.
  bool is_known(const TopicImage& topic) const { return ids_.contains(topic.id); }

  // What is wrong with naming it again, kNone if nothing is. `answered` is set when it has its answer
  // already.
  Error check(const ClusterImage& image, const DeleteTopic& topic, bool& answered) {
    if (topic.name && topic.id.is_zero()) {
      if (names_[*topic.name] > 1) {
        answered = !reported_names_.insert(*topic.name).second;
        return {ErrorCode::kInvalidRequest, "Duplicate topic name."};
      }
      const TopicPtr found = image.topic(*topic.name);
      if (found && ids_.contains(found->id)) {
        return {ErrorCode::kInvalidRequest,
                "The provided topic name maps to an ID that was already supplied."};
      }
    } else if (!topic.name && !topic.id.is_zero()) {
      answered = ids_of_names_.contains(topic.id);
      if (ids_[topic.id] > 1) {
        answered = answered || !reported_ids_.insert(topic.id).second;
        return {ErrorCode::kInvalidRequest, "Duplicate topic id."};
      }
    }
    return {ErrorCode::kNone, {}};
  }

 private:
  std::map<std::string, int> names_;
  std::map<Uuid, int> ids_;
  std::set<Uuid> ids_of_names_;
  std::set<std::string> reported_names_;
  std::set<Uuid> reported_ids_;
};

Result<> create_partitions(const PlanContext& context, const NewPartitions& request, int64_t& room,
                           Transaction& transaction) {
  const TopicPtr topic = context.image.topic(request.topic);
  if (!topic) return fail(ErrorCode::kUnknownTopicOrPartition);
  // Which one keeps a group follows from their number: a group would move to one that knows nothing of it.
  // Apache Kafka adds them, and has the groups move at its next start.
  if (is_internal_topic(topic->name)) {
    return fail(
        ErrorCode::kInvalidPartitions,
        fmt::format("The number of partitions of internal topic {} can't be changed: it says which one "
                    "keeps a group, so groups would lose their members and commits. "
                    "offsets.topic.num.partitions says how many a new cluster begins with.",
                    topic->name));
  }
  const auto count = static_cast<int32_t>(topic->partitions.size());
  if (request.count == count) {
    return fail(ErrorCode::kInvalidPartitions, fmt::format("Topic already has {} partition(s).", count));
  }
  if (request.count < count) {
    return fail(ErrorCode::kInvalidPartitions,
                fmt::format("The topic {} currently has {} partition(s); {} would not be an increase.",
                            topic->name, count, request.count));
  }
  const int32_t added = request.count - count;
  if (request.assignments && request.assignments->size() != static_cast<size_t>(added)) {
    return fail(
        ErrorCode::kInvalidReplicaAssignment,
        fmt::format("Attempted to add {} additional partition(s), but only {} assignment(s) were specified.",
                    added, request.assignments->size()));
  }
  if (added > room || request.count > kMaxPartitions) {
    return fail(ErrorCode::kPolicyViolation, "Excessively large number of partitions per request.");
  }
  const int16_t factor = topic->replication_factor();
  Result<Replicas> replicas;
  if (request.assignments) {
    for (const auto& brokers : *request.assignments) {
      if (Result<> checked = check_replicas(context.image, brokers, factor); !checked) return checked;
    }
    replicas = *request.assignments;
  } else {
    replicas = place_replicas(context.image, added, factor, context.random);
    if (!replicas) return std::unexpected(replicas.error());
  }
  room -= added;
  for (int32_t p = 0; p < added; ++p) {
    const std::string key = partition_key({topic->id, count + p});
    transaction.compares.push_back({key, Compare::Target::kVersion, 0});
    transaction.operations.push_back(
        Operation::put(key, encode_partition(new_partition((*replicas)[static_cast<size_t>(p)]))));
  }
  return {};
}

}  // namespace

Plan<CreateTopicResult> plan_create_topics(const PlanContext& context, const std::vector<NewTopic>& topics) {
  Plan<CreateTopicResult> plan;
  const auto twice = duplicates(topics, [](const NewTopic& topic) { return topic.name; });
  const bool too_many = partitions_asked_for(context, topics) > kMaxPartitionsPerRequest;
  std::set<std::string> reported;
  for (const NewTopic& topic : topics) {
    if (twice.contains(topic.name) && !reported.insert(topic.name).second) continue;
    CreateTopicResult& result = plan.results.emplace_back();
    result.name = topic.name;
    if (too_many) {
      result.error = {ErrorCode::kPolicyViolation, "Excessively large number of partitions per request."};
    } else if (twice.contains(topic.name)) {
      result.error = {ErrorCode::kInvalidRequest, "Duplicate topic name."};
    } else if (Result<> made = create_topic(context, topic, result, plan.transaction); !made) {
      result.error = made.error();
    } else {
      plan.changed.push_back(plan.results.size() - 1);
    }
  }
  return plan;
}

Plan<DeleteTopicResult> plan_delete_topics(const PlanContext& context,
                                           const std::vector<DeleteTopic>& topics) {
  Plan<DeleteTopicResult> plan;
  const bool enabled = parse_boolean(context.config.get("delete.topic.enable").value_or("true"));
  DoomedTwice twice(context.image, topics);
  for (const DeleteTopic& topic : topics) {
    bool answered = false;
    const Error duplicate = twice.check(context.image, topic, answered);
    if (answered) continue;
    DeleteTopicResult& result = plan.results.emplace_back(DeleteTopicResult{topic.name, topic.id});
    if (!enabled) {
      result.error = {ErrorCode::kTopicDeletionDisabled, "Topic deletion is disabled."};
      continue;
    }
    const Result<TopicPtr> doomed = find_doomed(context, topic);
    if (duplicate.code != ErrorCode::kNone) {
      result.error = duplicate;
      if (doomed && twice.is_known(**doomed)) result.id = (*doomed)->id;
      continue;
    }
    if (!doomed) {
      result.error = doomed.error();
      continue;
    }
    result.name = (*doomed)->name;
    result.id = (*doomed)->id;
    auto& operations = plan.transaction.operations;
    operations.push_back(Operation::remove(topic_key((*doomed)->name)));
    operations.push_back(Operation::remove_prefix(partitions_prefix(result.id)));
    operations.push_back(Operation::remove(topic_config_key((*doomed)->name)));
    operations.push_back(Operation::put(deleted_topic_key(result.id), encode_deleted_topic((*doomed)->name)));
    plan.changed.push_back(plan.results.size() - 1);
  }
  return plan;
}

Plan<TopicResult> plan_create_partitions(const PlanContext& context,
                                         const std::vector<NewPartitions>& topics) {
  Plan<TopicResult> plan;
  const auto twice = duplicates(topics, [](const NewPartitions& topic) { return topic.topic; });
  std::set<std::string> reported;
  int64_t room = kMaxPartitionsPerRequest;
  for (const NewPartitions& topic : topics) {
    if (twice.contains(topic.topic) && !reported.insert(topic.topic).second) continue;
    TopicResult& result = plan.results.emplace_back(TopicResult{topic.topic});
    if (twice.contains(topic.topic)) {
      result.error = {ErrorCode::kInvalidRequest, "Duplicate topic name."};
    } else if (Result<> made = create_partitions(context, topic, room, plan.transaction); !made) {
      result.error = made.error();
    } else {
      plan.changed.push_back(plan.results.size() - 1);
    }
  }
  return plan;
}

}  // namespace millrace::metadata
