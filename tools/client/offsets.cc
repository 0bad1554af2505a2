#include "tools/client/offsets.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>

#include <algorithm>

#include "protocol/messages/list_offsets.h"
#include "tools/interrupt.h"

namespace millrace::tools {
namespace {

constexpr int kPauseMs = 100;

// Asks the leaders once and moves what they answered from `wanted` to `found`, or to `out_of_service` where
// that is given. Returns the retriable error of one that is left, or kNone.
Result<ErrorCode> ask_leaders(Cluster& cluster, const TopicInfo& topic, int64_t timestamp_ms,
                              Isolation isolation, std::vector<int32_t>& wanted, Offsets& found,
                              std::vector<int32_t>* out_of_service) {
  using Request = protocol::ListOffsetsRequest;
  ErrorCode retriable = ErrorCode::kNone;
  std::map<int32_t, std::vector<Request::Topic::Partition>> by_leader;
  for (const int32_t number : wanted) {
    const PartitionInfo* info = topic.partition(number);
    if (info == nullptr) {
      return fail(ErrorCode::kUnknownTopicOrPartition,
                  fmt::format("topic \"{}\" has no partition {}; it has {}, from 0", topic.name, number,
                              topic.partitions.size()));
    }
    if (info->leader < 0) {
      retriable = ErrorCode::kLeaderNotAvailable;
      continue;
    }
    Request::Topic::Partition& partition = by_leader[info->leader].emplace_back();
    partition.partition_index = number;
    partition.timestamp = timestamp_ms;
  }
  for (auto& [leader, partitions] : by_leader) {
    std::vector<Request::Topic> topics(1);
    topics[0].name = topic.name;
    topics[0].partitions = partitions;
    Request request;
    request.replica_id = -1;
    request.isolation_level = static_cast<int8_t>(isolation);
    request.topics = topics;
    request.timeout_ms = static_cast<int32_t>(cluster.options().timeout_ms);
    auto reply = cluster.call_broker<protocol::ListOffsetsResponse>(leader, request);
    if (!reply) return std::unexpected(reply.error());
    for (const auto& answer : reply->message.topics) {
      for (const auto& partition : answer.partitions) {
        if (partition.error_code == ErrorCode::kNone) {
          found[partition.partition_index] = partition.offset;
        } else if (partition.error_code == ErrorCode::kKafkaStorageError && out_of_service != nullptr) {
          out_of_service->push_back(partition.partition_index);
          std::erase(wanted, partition.partition_index);
        } else if (is_retriable(partition.error_code)) {
          retriable = partition.error_code;
        } else {
          return fail(partition.error_code,
                      fmt::format("{} partition {}: {}", topic.name, partition.partition_index,
                                  error_name(partition.error_code)));
        }
      }
    }
  }
  std::erase_if(wanted, [&](int32_t number) { return found.contains(number); });
  return retriable;
}

Result<Offsets> ask_until_answered(Cluster& cluster, const std::string& topic, std::vector<int32_t> wanted,
                                   int64_t timestamp_ms, Isolation isolation,
                                   std::vector<int32_t>* out_of_service) {
  const Deadline deadline = Deadline::after_ms(cluster.options().timeout_ms);
  Offsets found;
  while (true) {
    Result<TopicInfo> info = cluster.topic(topic);
    if (!info) return std::unexpected(info.error());
    Result<ErrorCode> left =
        ask_leaders(cluster, *info, timestamp_ms, isolation, wanted, found, out_of_service);
    if (!left) return std::unexpected(left.error());
    if (wanted.empty()) return found;
    if (deadline.passed() || interrupted()) {
      return fail(*left, fmt::format("{} partition {}: {}", topic, wanted.front(), error_name(*left)));
    }
    poll(nullptr, 0, kPauseMs);
  }
}

}  // namespace

Result<Offsets> list_offsets(Cluster& cluster, const std::string& topic,
                             const std::vector<int32_t>& partitions, int64_t timestamp_ms,
                             Isolation isolation) {
  return ask_until_answered(cluster, topic, partitions, timestamp_ms, isolation, nullptr);
}

Result<Offsets> list_offsets_in_service(Cluster& cluster, const std::string& topic,
                                        std::vector<int32_t>& partitions, int64_t timestamp_ms,
                                        Isolation isolation, std::vector<int32_t>& out_of_service) {
  auto found = ask_until_answered(cluster, topic, partitions, timestamp_ms, isolation, &out_of_service);
  std::erase_if(partitions, [&](int32_t number) {
    return std::find(out_of_service.begin(), out_of_service.end(), number) != out_of_service.end();
  });
  return found;
}

std::string out_of_service_note(const std::string& topic, const std::vector<int32_t>& partitions) {
  return fmt::format("{}: out of service: partition {}. The broker's log says why", topic,
                     fmt::join(partitions, ", "));
}

Result<Offsets> resolve(Cluster& cluster, const std::string& topic, const std::vector<int32_t>& partitions,
                        const Position& position, Isolation isolation) {
  using Kind = Position::Kind;
  if (position.kind == Kind::kOffset) {
    Offsets same;
    for (const int32_t partition : partitions) same[partition] = position.value;
    return same;
  }
  if (position.kind == Kind::kStart)
    return list_offsets(cluster, topic, partitions, kEarliestTimestamp, isolation);
  Result<Offsets> end = list_offsets(cluster, topic, partitions, kLatestTimestamp, isolation);
  if (!end || position.kind == Kind::kEnd) return end;
  const int64_t timestamp_ms =
      position.kind == Kind::kTimestamp ? std::max<int64_t>(position.value, 0) : kEarliestTimestamp;
  Result<Offsets> other = list_offsets(cluster, topic, partitions, timestamp_ms, isolation);
  if (!other) return other;
  for (auto& [partition, offset] : *other) {
    const int64_t last = (*end)[partition];
    if (position.kind == Kind::kBeforeEnd) {
      offset = std::max(offset, last - position.value);
    } else if (offset < 0) {
      offset = last;
    }
  }
  return other;
}

}  // namespace millrace::tools
