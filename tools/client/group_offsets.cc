#include "tools/client/group_offsets.h"

#include <fmt/format.h>

#include "protocol/messages/offset_commit.h"
#include "protocol/messages/offset_fetch.h"
#include "tools/client/refusal.h"

namespace millrace::tools {
namespace {

// The last version that has topics by name; later ones forget what was committed for deleted topics.
constexpr int16_t kLastWithNames = 9;

ErrorCode first_error(const protocol::OffsetCommitResponse& answer) {
  for (const auto& topic : answer.topics) {
    for (const auto& partition : topic.partitions) {
      if (partition.error_code != ErrorCode::kNone) return partition.error_code;
    }
  }
  return ErrorCode::kNone;
}

// What another try may mend. A topic that isn't there is not waited for.
ErrorCode coordinator_error(const protocol::OffsetCommitResponse& answer) {
  const ErrorCode error = first_error(answer);
  return error == ErrorCode::kUnknownTopicOrPartition ? ErrorCode::kNone : error;
}

}  // namespace

Result<GroupOffsets> committed_offsets(Cluster& cluster, const std::string& group) {
  using Answer = protocol::OffsetFetchResponse;
  std::vector<protocol::OffsetFetchRequest::Group> groups(1);
  groups[0].group_id = group;
  // Null asks for all of them.
  groups[0].topics.reset();
  protocol::OffsetFetchRequest request;
  request.groups = groups;
  const auto verdict = [](const Answer& answer) {
    return answer.groups.empty() ? ErrorCode::kNone : answer.groups[0].error_code;
  };
  auto reply = call_coordinator<Answer>(cluster, group, request, verdict, kLastWithNames);
  if (!reply) return std::unexpected(reply.error());
  GroupOffsets offsets;
  for (const auto& answer : reply->message.groups) {
    if (answer.error_code == ErrorCode::kGroupIdNotFound) continue;
    if (answer.error_code != ErrorCode::kNone) return refused(answer.error_code);
    for (const auto& topic : answer.topics) {
      for (const auto& partition : topic.partitions) {
        if (partition.error_code != ErrorCode::kNone || partition.committed_offset < 0) continue;
        offsets[{std::string(topic.name), partition.partition_index}] = {
            partition.committed_offset, partition.committed_leader_epoch,
            std::string(partition.metadata.value_or(""))};
      }
    }
  }
  return offsets;
}

Result<void> commit_offsets(Cluster& cluster, const std::string& group, const Committer& committer,
                            const std::map<TopicPartition, int64_t>& offsets) {
  using Request = protocol::OffsetCommitRequest;
  std::map<std::string_view, std::vector<Request::Topic::Partition>> by_topic;
  for (const auto& [place, offset] : offsets) {
    Request::Topic::Partition& partition = by_topic[place.topic].emplace_back();
    partition.partition_index = place.partition;
    partition.committed_offset = offset;
    partition.committed_metadata = "";
  }
  std::vector<Request::Topic> topics;
  for (auto& [name, partitions] : by_topic) {
    topics.emplace_back().name = name;
    topics.back().partitions = partitions;
  }
  Request request;
  request.group_id = group;
  request.member_id = committer.member_id;
  request.generation_id_or_member_epoch = committer.epoch;
  request.topics = topics;
  auto reply = call_coordinator<protocol::OffsetCommitResponse>(cluster, group, request, coordinator_error,
                                                                kLastWithNames);
  if (!reply) return std::unexpected(reply.error());
  if (const ErrorCode error = first_error(reply->message); error != ErrorCode::kNone) return refused(error);
  return {};
}

}  // namespace millrace::tools
