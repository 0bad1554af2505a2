// Metadata: 0 asks for all topics by an empty list, later versions by null; 4 can forbid auto-creation, 10
// adds topic ids (KIP-516), 12 lets clients ask by id. DescribeTopicPartitions (KIP-966): the same in pages.
#include "protocol/messages/metadata.h"

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "broker/api/endpoints.h"
#include "broker/api/handlers.h"
#include "protocol/messages/describe_topic_partitions.h"

namespace millrace::api {
namespace {

using metadata::TopicImage;
using metadata::TopicPtr;
using protocol::DescribeTopicPartitionsRequest;
using protocol::DescribeTopicPartitionsResponse;
using protocol::MetadataRequest;
using protocol::MetadataResponse;

// Kafka's max.request.partition.size.limit.
constexpr int32_t kMaxPartitionsPerPage = 2000;

bool asks_for_all(const MetadataRequest& request, int16_t version) {
  return !request.topics || (version == 0 && request.topics->empty());
}

MetadataResponse::Topic describe(Context& context, const TopicImage& image, bool with_operations) {
  MetadataResponse::Topic topic;
  topic.name = context.text(image.name);
  topic.topic_id = image.id;
  topic.is_internal = metadata::is_internal_topic(image.name);
  if (with_operations) topic.topic_authorized_operations = kAllTopicOperations;
  topic.partitions = context.arena.make_array<MetadataResponse::Topic::Partition>(image.partitions.size());
  for (size_t i = 0; i < image.partitions.size(); ++i) {
    const metadata::PartitionImage& partition = image.partitions[i];
    MetadataResponse::Topic::Partition& answer = topic.partitions[i];
    answer.error_code =
        partition.leader == metadata::kNoBroker ? ErrorCode::kLeaderNotAvailable : ErrorCode::kNone;
    answer.partition_index = static_cast<int32_t>(i);
    answer.leader_id = partition.leader;
    answer.leader_epoch = partition.leader_epoch;
    answer.replica_nodes = context.arena.copy(partition.replicas);
    answer.isr_nodes = context.arena.copy(partition.isr);
  }
  return topic;
}

MetadataResponse::Topic refuse(std::optional<std::string_view> name, const Uuid& id, ErrorCode error) {
  MetadataResponse::Topic topic;
  topic.name = name;
  topic.topic_id = id;
  topic.error_code = error;
  topic.is_internal = name && metadata::is_internal_topic(*name);
  return topic;
}

// Creates what the request names and isn't there yet, with the broker's defaults (auto.create.topics.enable).
Task<std::vector<metadata::CreateTopicResult>> create_missing(Context& context,
                                                              const MetadataRequest& request) {
  std::vector<metadata::NewTopic> missing;
  std::set<std::string_view> seen;
  for (const auto& wanted : *request.topics) {
    if (!wanted.name || context.image()->topic(*wanted.name) || !seen.insert(*wanted.name).second) continue;
    missing.push_back({.name = std::string(*wanted.name)});
  }
  if (missing.empty()) co_return std::vector<metadata::CreateTopicResult>{};
  metadata::Controller& controller = context.services.controller;
  auto create = [&controller, &missing] { return controller.create_topics(std::move(missing), false); };
  co_return co_await context.services.home().call(create);
}

using CreationErrors = std::map<std::string_view, ErrorCode>;

CreationErrors errors_by_name(const std::vector<metadata::CreateTopicResult>& created) {
  CreationErrors errors;
  for (const auto& result : created) errors.emplace(result.name, result.error.code);
  return errors;
}

ErrorCode creation_error(const CreationErrors& errors, std::string_view name) {
  const auto found = errors.find(name);
  return found == errors.end() ? ErrorCode::kUnknownTopicOrPartition : found->second;
}

// A request that mixes what its version doesn't know is refused topic by topic, as Kafka does.
bool is_malformed(const MetadataRequest& request, int16_t version) {
  if (version >= 12 || !request.topics) return false;
  return std::any_of(request.topics->begin(), request.topics->end(),
                     [](const auto& topic) { return !topic.name || !topic.topic_id.is_zero(); });
}

void fill_requested(Context& context, const MetadataRequest& request, const CreationErrors& created,
                    MetadataResponse& response) {
  const metadata::ImagePtr image = context.image();
  const bool by_id = std::any_of(request.topics->begin(), request.topics->end(),
                                 [](const auto& topic) { return !topic.topic_id.is_zero(); });
  std::vector<MetadataResponse::Topic> topics;
  std::set<std::string_view> seen;
  for (const auto& wanted : *request.topics) {
    // Where one topic is named by id, those without are passed over, as Kafka does.
    if (by_id && wanted.topic_id.is_zero()) continue;
    const TopicPtr topic = by_id ? image->topic(wanted.topic_id) : image->topic(wanted.name.value_or(""));
    if (topic) {
      if (seen.insert(topic->name).second) {
        topics.push_back(describe(context, *topic, request.include_topic_authorized_operations));
      }
    } else if (by_id) {
      topics.push_back(refuse(std::nullopt, wanted.topic_id, ErrorCode::kUnknownTopicId));
    } else if (seen.insert(*wanted.name).second) {
      const bool valid = !metadata::check_topic_name(*wanted.name);
      topics.push_back(
          refuse(wanted.name, {},
                 valid ? creation_error(created, *wanted.name) : ErrorCode::kInvalidTopicException));
      if (request.include_topic_authorized_operations)
        topics.back().topic_authorized_operations = kAllTopicOperations;
    }
  }
  response.topics = context.arena.copy(topics);
}

void fill_all(Context& context, bool with_operations, MetadataResponse& response) {
  const metadata::ImagePtr image = context.image();
  std::vector<MetadataResponse::Topic> topics;
  topics.reserve(image->topics().size());
  image->topics().for_each(
      [&](const TopicPtr& topic) { topics.push_back(describe(context, *topic, with_operations)); });
  response.topics = context.arena.copy(topics);
}

void fill_cluster(Context& context, const MetadataRequest& request, MetadataResponse& response) {
  const metadata::ImagePtr image = context.image();
  std::vector<MetadataResponse::Broker> brokers;
  for (const auto& [id, broker] : image->brokers()) {
    const metadata::Endpoint* endpoint = endpoint_for(broker, context.request.connection->listener_name);
    if (endpoint == nullptr) continue;
    MetadataResponse::Broker& answer = brokers.emplace_back();
    answer.node_id = id;
    answer.host = context.text(endpoint->host);
    answer.port = endpoint->port;
    if (broker.rack) answer.rack = context.text(*broker.rack);
  }
  response.brokers = context.arena.copy(brokers);
  response.cluster_id = context.text(image->cluster_id().to_string());
  response.controller_id = image->controller_id();
  if (request.include_cluster_authorized_operations)
    response.cluster_authorized_operations = kAllClusterOperations;
}

}  // namespace

Task<> metadata(Context& context, const MetadataRequest& request, MetadataResponse& response) {
  if (is_malformed(request, context.version)) {
    response.topics = context.arena.make_array<MetadataResponse::Topic>(request.topics->size());
    for (size_t i = 0; i < request.topics->size(); ++i) {
      const auto& wanted = (*request.topics)[i];
      response.topics[i] = refuse(wanted.name.value_or(""), wanted.topic_id, ErrorCode::kInvalidRequest);
    }
    co_return;
  }
  if (asks_for_all(request, context.version)) {
    fill_all(context, request.include_topic_authorized_operations, response);
  } else {
    std::vector<metadata::CreateTopicResult> created;
    if (request.allow_auto_topic_creation && context.config().auto_create_topics_enable) {
      created = co_await create_missing(context, request);
    }
    fill_requested(context, request, errors_by_name(created), response);
  }
  fill_cluster(context, request, response);
}

namespace {

// The topics of a page, from the cursor on, by name. Null pointers stand for names that don't exist.
std::vector<std::pair<std::string_view, TopicPtr>> topics_from(const DescribeTopicPartitionsRequest& request,
                                                               const metadata::ClusterImage& image,
                                                               std::string_view first) {
  std::vector<std::pair<std::string_view, TopicPtr>> topics;
  if (request.topics.empty()) {
    image.topics().for_each_from(first, [&](const TopicPtr& topic) {
      topics.emplace_back(topic->name, topic);
      return true;
    });
    return topics;
  }
  std::set<std::string_view> names;
  for (const auto& topic : request.topics) {
    if (topic.name >= first) names.insert(topic.name);
  }
  for (const std::string_view name : names) topics.emplace_back(name, image.topic(name));
  return topics;
}

// A cursor points to one of the topics that the request names, where it names any.
bool has_valid_cursor(const DescribeTopicPartitionsRequest& request) {
  if (!request.cursor) return true;
  if (request.cursor->partition_index < 0) return false;
  return request.topics.empty() ||
         std::any_of(request.topics.begin(), request.topics.end(),
                     [&](const auto& topic) { return topic.name == request.cursor->topic_name; });
}

void describe_partition(Context& context, const metadata::PartitionImage& image, int32_t index,
                        DescribeTopicPartitionsResponse::Topic::Partition& answer) {
  answer.error_code = image.leader == metadata::kNoBroker ? ErrorCode::kLeaderNotAvailable : ErrorCode::kNone;
  answer.partition_index = index;
  answer.leader_id = image.leader;
  answer.leader_epoch = image.leader_epoch;
  answer.replica_nodes = context.arena.copy(image.replicas);
  answer.isr_nodes = context.arena.copy(image.isr);
  // Eligible leader replicas exist only where an ISR can shrink below its minimum: empty, not null, as Kafka
  // says it.
  answer.eligible_leader_replicas.emplace();
  answer.last_known_elr.emplace();
}

}  // namespace

void describe_topic_partitions(Context& context, const DescribeTopicPartitionsRequest& request,
                               DescribeTopicPartitionsResponse& response) {
  if (!has_valid_cursor(request)) {
    response.topics = context.arena.make_array<DescribeTopicPartitionsResponse::Topic>(request.topics.size());
    for (size_t i = 0; i < request.topics.size(); ++i) {
      response.topics[i].name = request.topics[i].name;
      response.topics[i].error_code = ErrorCode::kInvalidRequest;
    }
    return;
  }
  const metadata::ImagePtr image = context.image();
  const std::string_view first = request.cursor ? request.cursor->topic_name : std::string_view();
  size_t left = static_cast<size_t>(std::clamp(request.response_partition_limit, 1, kMaxPartitionsPerPage));
  std::vector<DescribeTopicPartitionsResponse::Topic> topics;
  for (const auto& [name, topic] : topics_from(request, *image, first)) {
    size_t begin = 0;
    if (request.cursor && name == first)
      begin = static_cast<size_t>(std::max(request.cursor->partition_index, 0));
    if (topic && begin < topic->partitions.size() && left == 0) {
      response.next_cursor.emplace();
      response.next_cursor->topic_name = context.text(name);
      response.next_cursor->partition_index = static_cast<int32_t>(begin);
      break;
    }
    DescribeTopicPartitionsResponse::Topic& answer = topics.emplace_back();
    answer.name = context.text(name);
    answer.is_internal = metadata::is_internal_topic(name);
    answer.topic_authorized_operations = kAllTopicOperations;
    if (!topic) {
      answer.error_code = metadata::check_topic_name(name) ? ErrorCode::kInvalidTopicException
                                                           : ErrorCode::kUnknownTopicOrPartition;
      continue;
    }
    answer.topic_id = topic->id;
    begin = std::min(begin, topic->partitions.size());
    const size_t count = std::min(left, topic->partitions.size() - begin);
    answer.partitions = context.arena.make_array<DescribeTopicPartitionsResponse::Topic::Partition>(count);
    for (size_t i = 0; i < count; ++i) {
      describe_partition(context, topic->partitions[begin + i], static_cast<int32_t>(begin + i),
                         answer.partitions[i]);
    }
    left -= count;
    if (begin + count < topic->partitions.size()) {
      response.next_cursor.emplace();
      response.next_cursor->topic_name = context.text(name);
      response.next_cursor->partition_index = static_cast<int32_t>(begin + count);
      break;
    }
  }
  response.topics = context.arena.copy(topics);
}

}  // namespace millrace::api
