#include "tools/client/admin.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocol/messages/create_partitions.h"
#include "protocol/messages/create_topics.h"
#include "protocol/messages/delete_records.h"
#include "protocol/messages/delete_topics.h"
#include "protocol/messages/describe_log_dirs.h"
#include "tools/client/refusal.h"

namespace millrace::tools {
Result<CreatedTopic> create_topic(Cluster& cluster, const NewTopic& topic, bool validate_only) {
  using Request = protocol::CreateTopicsRequest;
  std::vector<Request::Topic> topics(1);
  std::vector<Request::Topic::Config> configs;
  for (const auto& [name, value] : topic.configs) {
    Request::Topic::Config& config = configs.emplace_back();
    config.name = name;
    config.value = value;
  }
  topics[0].name = topic.name;
  topics[0].num_partitions = topic.partitions;
  topics[0].replication_factor = topic.replication_factor;
  topics[0].configs = configs;
  Request request;
  request.topics = topics;
  request.timeout_ms = static_cast<int32_t>(cluster.options().timeout_ms);
  request.validate_only = validate_only;
  const auto verdict = [](const protocol::CreateTopicsResponse& answer) {
    return answer.topics.empty() ? ErrorCode::kNone : answer.topics[0].error_code;
  };
  auto reply = cluster.call_controller<protocol::CreateTopicsResponse>(request, {verdict});
  if (!reply) return std::unexpected(reply.error());
  if (reply->message.topics.empty())
    return fail(ErrorCode::kUnknownServerError, "the broker's answer names no topic");
  const auto& answer = reply->message.topics[0];
  if (answer.error_code != ErrorCode::kNone) return refused(answer.error_code, answer.error_message);
  return CreatedTopic{answer.topic_id, answer.num_partitions, answer.replication_factor};
}

Result<std::vector<Result<void>>> delete_topics(Cluster& cluster, const std::vector<std::string>& names) {
  using Request = protocol::DeleteTopicsRequest;
  Request request;
  // Up to version 5 names stand in one field, from 6 in another.
  std::vector<std::string_view> views(names.begin(), names.end());
  std::vector<Request::Topic> topics;
  for (const std::string& name : names) topics.emplace_back().name = name;
  Result<Connection*> connection = cluster.controller();
  if (!connection) return std::unexpected(connection.error());
  const Result<int16_t> version = (*connection)->version_of(ApiKey::kDeleteTopics);
  if (!version) return std::unexpected(version.error());
  if (*version >= 6) {
    request.topics = topics;
  } else {
    request.topic_names = views;
  }
  request.timeout_ms = static_cast<int32_t>(cluster.options().timeout_ms);
  auto reply = cluster.call_controller<protocol::DeleteTopicsResponse>(request);
  if (!reply) return std::unexpected(reply.error());
  std::vector<Result<void>> results(
      names.size(), fail(ErrorCode::kUnknownServerError, "the broker's answer doesn't name it"));
  for (const auto& answer : reply->message.responses) {
    const auto at = std::find(names.begin(), names.end(), answer.name.value_or(""));
    if (at == names.end()) continue;
    Result<void>& result = results[static_cast<size_t>(at - names.begin())];
    if (answer.error_code == ErrorCode::kNone) {
      result = {};
    } else {
      result = refused(answer.error_code, answer.error_message);
    }
  }
  return results;
}

Result<void> create_partitions(Cluster& cluster, const std::string& topic, int32_t total) {
  using Request = protocol::CreatePartitionsRequest;
  std::vector<Request::Topic> topics(1);
  topics[0].name = topic;
  topics[0].count = total;
  topics[0].assignments.reset();
  Request request;
  request.topics = topics;
  request.timeout_ms = static_cast<int32_t>(cluster.options().timeout_ms);
  auto reply = cluster.call_controller<protocol::CreatePartitionsResponse>(request);
  if (!reply) return std::unexpected(reply.error());
  for (const auto& answer : reply->message.results) {
    if (answer.error_code != ErrorCode::kNone) return refused(answer.error_code, answer.error_message);
  }
  return {};
}

Result<std::map<int32_t, Result<int64_t>>> delete_records(Cluster& cluster, const TopicInfo& topic,
                                                          const std::map<int32_t, int64_t>& before) {
  using Request = protocol::DeleteRecordsRequest;
  std::map<int32_t, std::vector<Request::Topic::Partition>> by_leader;
  std::map<int32_t, Result<int64_t>> results;
  for (const auto& [number, offset] : before) {
    const PartitionInfo* info = topic.partition(number);
    if (info == nullptr || info->leader < 0) {
      results.emplace(number, fail(ErrorCode::kLeaderNotAvailable, "the partition has no leader"));
      continue;
    }
    Request::Topic::Partition& partition = by_leader[info->leader].emplace_back();
    partition.partition_index = number;
    partition.offset = offset;
  }
  for (auto& [leader, partitions] : by_leader) {
    std::vector<Request::Topic> topics(1);
    topics[0].name = topic.name;
    topics[0].partitions = partitions;
    Request request;
    request.topics = topics;
    request.timeout_ms = static_cast<int32_t>(cluster.options().timeout_ms);
    auto reply = cluster.call_broker<protocol::DeleteRecordsResponse>(leader, request);
    if (!reply) return std::unexpected(reply.error());
    for (const auto& answer : reply->message.topics) {
      for (const auto& partition : answer.partitions) {
        Result<int64_t> result = partition.low_watermark;
        if (partition.error_code != ErrorCode::kNone) result = refused(partition.error_code, std::nullopt);
        results.emplace(partition.partition_index, std::move(result));
      }
    }
  }
  return results;
}

Result<PartitionSizes> partition_sizes(Cluster& cluster, const std::optional<TopicInfo>& topic) {
  using Request = protocol::DescribeLogDirsRequest;
  std::vector<int32_t> numbers;
  std::vector<Request::Topic> topics(1);
  Request request;
  if (topic) {
    for (const PartitionInfo& info : topic->partitions) numbers.push_back(info.partition);
    topics[0].topic = topic->name;
    topics[0].partitions = numbers;
    request.topics = Array<Request::Topic>(topics);
  } else {
    request.topics.reset();
  }
  PartitionSizes sizes;
  const std::vector<BrokerInfo> brokers = cluster.brokers();
  for (const BrokerInfo& broker : brokers) {
    auto reply = cluster.call_broker<protocol::DescribeLogDirsResponse>(broker.id, request);
    if (!reply) return std::unexpected(reply.error());
    if (reply->message.error_code != ErrorCode::kNone)
      return refused(reply->message.error_code, std::nullopt);
    for (const auto& directory : reply->message.results) {
      for (const auto& found : directory.topics) {
        for (const auto& partition : found.partitions) {
          if (partition.is_future_key) continue;
          int64_t& size = sizes[{std::string(found.name), partition.partition_index}];
          size = std::max(size, partition.partition_size);
        }
      }
    }
  }
  return sizes;
}

}  // namespace millrace::tools
