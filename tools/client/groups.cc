#include "tools/client/groups.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <set>

#include "protocol/messages/consumer_group_describe.h"
#include "protocol/messages/consumer_protocol_record.h"
#include "protocol/messages/delete_groups.h"
#include "protocol/messages/describe_groups.h"
#include "protocol/messages/find_coordinator.h"
#include "protocol/messages/list_groups.h"
#include "protocol/reader.h"
#include "tools/client/refusal.h"
#include "tools/command.h"
#include "tools/interrupt.h"
#include "tools/utf8.h"

namespace millrace::tools {
namespace {

constexpr int kPauseMs = 100;
// Groups in one request: keeps answers far below any limit.
constexpr size_t kChunk = 500;
// The first version that asks for several groups at once.
constexpr int16_t kManyCoordinators = 4;

using Names = std::vector<std::string>;

// The coordinators of the groups. Groups whose coordinator isn't known at the moment are left out; then
// `error` has the reason.
Result<std::map<int32_t, Names>> find_coordinators(Cluster& cluster, const Names& names, ErrorCode& error) {
  Result<Connection*> any = cluster.any();
  if (!any) return std::unexpected(any.error());
  const Result<int16_t> version = (*any)->version_of(ApiKey::kFindCoordinator);
  if (!version) return std::unexpected(version.error());
  if (*version < kManyCoordinators)
    return fail(ErrorCode::kUnsupportedVersion,
                "the broker is too old: groups need Apache Kafka 3.0 or later");
  protocol::FindCoordinatorRequest request;
  std::vector<std::string_view> keys(names.begin(), names.end());
  request.coordinator_keys = keys;
  auto reply = cluster.call_any<protocol::FindCoordinatorResponse>(request);
  if (!reply) return std::unexpected(reply.error());
  std::map<int32_t, Names> found;
  for (const auto& coordinator : reply->message.coordinators) {
    if (coordinator.error_code == ErrorCode::kNone) {
      found[coordinator.node_id].emplace_back(coordinator.key);
    } else if (is_retriable(coordinator.error_code)) {
      error = coordinator.error_code;
    } else {
      return refused(coordinator.error_code, coordinator.error_message);
    }
  }
  return found;
}

// Has `ask` ask each coordinator about its groups until every group has a result that trying again doesn't
// change. `ask` puts what it learns into its last argument.
template <class T>
using ResultsByGroup = std::map<std::string, Result<T>>;
template <class T>
using Ask = std::function<Result<void>(int32_t coordinator, const Names& names, ResultsByGroup<T>& results)>;

template <class T>
Result<ResultsByGroup<T>> ask_coordinators(Cluster& cluster, const Names& names, const Ask<T>& ask) {
  const Deadline deadline = Deadline::after_ms(cluster.options().timeout_ms);
  std::set<std::string> left(names.begin(), names.end());
  ResultsByGroup<T> results;
  while (!left.empty()) {
    Names chunk(left.begin(), std::next(left.begin(), static_cast<int64_t>(std::min(kChunk, left.size()))));
    ErrorCode error = ErrorCode::kCoordinatorNotAvailable;
    Result<std::map<int32_t, Names>> coordinators = find_coordinators(cluster, chunk, error);
    if (!coordinators) return std::unexpected(coordinators.error());
    ResultsByGroup<T> answers;
    for (const auto& [coordinator, theirs] : *coordinators) {
      if (Result<void> asked = ask(coordinator, theirs, answers); !asked)
        return std::unexpected(asked.error());
    }
    bool waiting = false;
    for (std::string& name : chunk) {
      auto answer = answers.find(name);
      if (answer == answers.end()) answer = answers.emplace(name, refused(error)).first;
      const bool retriable = !answer->second && is_retriable(answer->second.error().code);
      if (retriable && !deadline.passed() && !interrupted()) {
        waiting = true;
        continue;
      }
      left.erase(name);
      results.insert_or_assign(std::move(name), std::move(answer->second));
    }
    if (waiting) poll(nullptr, 0, kPauseMs);
  }
  return results;
}

template <class List>
TopicPartitions partitions_by_topic(const List& list) {
  TopicPartitions found;
  for (const auto& topic : list) {
    std::vector<int32_t>& numbers = found[std::string(topic.topic_name)];
    numbers.insert(numbers.end(), topic.partitions.begin(), topic.partitions.end());
    std::sort(numbers.begin(), numbers.end());
  }
  return found;
}

// Brokers write addresses as Java does: "/127.0.0.1".
std::string host_of(std::string_view client_host) {
  return std::string(client_host.starts_with('/') ? client_host.substr(1) : client_host);
}

GroupMember consumer_member(const protocol::ConsumerGroupDescribeResponse::Group::Member& from) {
  GroupMember member;
  member.id = from.member_id;
  if (from.instance_id) member.instance_id = std::string(*from.instance_id);
  if (from.rack_id) member.rack = std::string(*from.rack_id);
  member.client_id = from.client_id;
  member.host = host_of(from.client_host);
  member.epoch = from.member_epoch;
  if (from.member_type >= 0) member.classic = from.member_type == 0;
  for (const std::string_view topic : from.subscribed_topic_names) member.topics.emplace_back(topic);
  if (from.subscribed_topic_regex && !from.subscribed_topic_regex->empty())
    member.topic_regex = std::string(*from.subscribed_topic_regex);
  member.assignment = partitions_by_topic(from.assignment.topic_partitions);
  member.target = partitions_by_topic(from.target_assignment.topic_partitions);
  return member;
}

Result<void> describe_consumer_groups(Cluster& cluster, int32_t coordinator, const Names& names,
                                      ResultsByGroup<GroupDescription>& results) {
  protocol::ConsumerGroupDescribeRequest request;
  std::vector<std::string_view> ids(names.begin(), names.end());
  request.group_ids = ids;
  auto reply = cluster.call_broker<protocol::ConsumerGroupDescribeResponse>(coordinator, request);
  if (!reply) return std::unexpected(reply.error());
  for (const auto& group : reply->message.groups) {
    if (group.error_code != ErrorCode::kNone) {
      results.insert_or_assign(std::string(group.group_id), refused(group.error_code, group.error_message));
      continue;
    }
    GroupDescription description;
    description.name = group.group_id;
    description.type = description.protocol_type = "consumer";
    description.state = group.group_state;
    description.assignor = group.assignor_name;
    description.epoch = group.group_epoch;
    description.assignment_epoch = group.assignment_epoch;
    description.coordinator = coordinator;
    for (const auto& member : group.members) description.members.push_back(consumer_member(member));
    results.insert_or_assign(description.name, std::move(description));
  }
  return {};
}

// The version in front of what classic consumers tell each other, as this program may read it: fields are
// only ever added at the end.
template <class Message>
int16_t take_version(Bytes& bytes) {
  if (bytes.size() < 2) return -1;
  const int version = std::to_integer<int>(bytes[0]) << 8 | std::to_integer<int>(bytes[1]);
  bytes = bytes.subspan(2);
  return static_cast<int16_t>(std::min<int>(version, Message::kMaxVersion));
}

// Classic clients may put anything there; what can't be read is shown as nothing.
void read_classic_protocol(const protocol::DescribeGroupsResponse::Group::Member& from, GroupMember& member) {
  Arena arena(1 << 20);
  Bytes bytes = from.member_metadata;
  if (const int16_t version = take_version<protocol::ConsumerProtocolSubscription>(bytes); version >= 0) {
    const auto read = protocol::decode<protocol::ConsumerProtocolSubscription>(bytes, version, arena);
    for (const std::string_view topic : read ? read->topics : Array<std::string_view>{})
      member.topics.emplace_back(topic);
  }
  bytes = from.member_assignment;
  if (const int16_t version = take_version<protocol::ConsumerProtocolAssignment>(bytes); version >= 0) {
    const auto read = protocol::decode<protocol::ConsumerProtocolAssignment>(bytes, version, arena);
    if (!read) return;
    for (const auto& topic : read->assigned_partitions) {
      std::vector<int32_t>& numbers = member.assignment[std::string(topic.topic)];
      numbers.assign(topic.partitions.begin(), topic.partitions.end());
      std::sort(numbers.begin(), numbers.end());
    }
  }
}

Result<void> describe_classic_groups(Cluster& cluster, int32_t coordinator, const Names& names,
                                     ResultsByGroup<GroupDescription>& results) {
  protocol::DescribeGroupsRequest request;
  std::vector<std::string_view> ids(names.begin(), names.end());
  request.groups = ids;
  auto reply = cluster.call_broker<protocol::DescribeGroupsResponse>(coordinator, request);
  if (!reply) return std::unexpected(reply.error());
  for (const auto& group : reply->message.groups) {
    const std::string name(group.group_id);
    // Before version 6 an unknown group is a dead one.
    const bool unknown = group.error_code == ErrorCode::kNone && group.group_state == "Dead";
    const ErrorCode error = unknown ? ErrorCode::kGroupIdNotFound : group.error_code;
    if (error != ErrorCode::kNone) {
      results.insert_or_assign(name, refused(error, group.error_message));
      continue;
    }
    GroupDescription description;
    description.name = name;
    description.type = "classic";
    description.protocol_type = group.protocol_type;
    description.state = group.group_state;
    description.assignor = group.protocol_data;
    description.coordinator = coordinator;
    for (const auto& from : group.members) {
      GroupMember& member = description.members.emplace_back();
      member.id = from.member_id;
      if (from.group_instance_id) member.instance_id = std::string(*from.group_instance_id);
      member.client_id = from.client_id;
      member.host = host_of(from.client_host);
      if (group.protocol_type == "consumer") read_classic_protocol(from, member);
    }
    results.insert_or_assign(name, std::move(description));
  }
  return {};
}

}  // namespace

size_t GroupMember::partition_count() const {
  size_t count = 0;
  for (const auto& [topic, partitions] : assignment) count += partitions.size();
  return count;
}

Result<int32_t> find_coordinator(Cluster& cluster, const std::string& group) {
  ErrorCode error = ErrorCode::kCoordinatorNotAvailable;
  const Result<std::map<int32_t, Names>> found = find_coordinators(cluster, {group}, error);
  if (!found) return std::unexpected(found.error());
  if (found->empty()) return refused(error);
  return found->begin()->first;
}

Result<std::vector<GroupListing>> list_groups(Cluster& cluster) {
  const auto verdict = [](const protocol::ListGroupsResponse& answer) { return answer.error_code; };
  std::map<std::string, GroupListing> found;
  const std::vector<BrokerInfo> brokers = cluster.brokers();
  for (const BrokerInfo& broker : brokers) {
    auto reply = cluster.call<protocol::ListGroupsResponse>([&] { return cluster.broker(broker.id); },
                                                            protocol::ListGroupsRequest{}, {verdict});
    if (!reply) return std::unexpected(reply.error());
    if (reply->message.error_code != ErrorCode::kNone) return refused(reply->message.error_code);
    for (const auto& group : reply->message.groups) {
      found[std::string(group.group_id)] = {std::string(group.group_id), std::string(group.protocol_type),
                                            std::string(group.group_state), std::string(group.group_type)};
    }
  }
  std::vector<GroupListing> groups;
  for (auto& [name, group] : found) groups.push_back(std::move(group));
  return groups;
}

Result<std::map<std::string, Result<GroupDescription>>> describe_groups(Cluster& cluster,
                                                                        const Names& names) {
  const auto ask = [&](int32_t coordinator, const Names& theirs,
                       ResultsByGroup<GroupDescription>& results) -> Result<void> {
    Result<Connection*> connection = cluster.broker(coordinator);
    if (!connection) return std::unexpected(connection.error());
    Names classic = theirs;
    if ((*connection)->version_of(ApiKey::kConsumerGroupDescribe)) {
      if (Result<void> asked = describe_consumer_groups(cluster, coordinator, theirs, results); !asked)
        return asked;
      // A group of the other kind is answered as if it weren't there.
      std::erase_if(classic, [&](const std::string& name) {
        const auto result = results.find(name);
        return result != results.end() &&
               (result->second || result->second.error().code != ErrorCode::kGroupIdNotFound);
      });
    }
    return classic.empty() ? Result<void>{} : describe_classic_groups(cluster, coordinator, classic, results);
  };
  return ask_coordinators<GroupDescription>(cluster, names, ask);
}

Result<GroupDescription> describe_group(Cluster& cluster, const std::string& name) {
  auto described = describe_groups(cluster, {name});
  if (!described) return std::unexpected(described.error());
  Result<GroupDescription>& group = described->at(name);
  if (!group && group.error().code == ErrorCode::kGroupIdNotFound)
    return std::unexpected(no_such_group(cluster, name));
  if (!group)
    return fail(group.error().code, fmt::format("group \"{}\": {}", visible(name), group.error().message));
  return std::move(group);
}

Result<std::map<std::string, Result<void>>> delete_groups(Cluster& cluster, const Names& names) {
  const auto ask = [&](int32_t coordinator, const Names& theirs,
                       ResultsByGroup<void>& results) -> Result<void> {
    protocol::DeleteGroupsRequest request;
    std::vector<std::string_view> ids(theirs.begin(), theirs.end());
    request.groups_names = ids;
    auto reply = cluster.call_broker<protocol::DeleteGroupsResponse>(coordinator, request);
    if (!reply) return std::unexpected(reply.error());
    for (const auto& group : reply->message.results) {
      Result<void> result;
      if (group.error_code != ErrorCode::kNone) result = refused(group.error_code);
      results.insert_or_assign(std::string(group.group_id), std::move(result));
    }
    return {};
  };
  return ask_coordinators<void>(cluster, names, ask);
}

Error no_such_group(Cluster& cluster, const std::string& name) {
  std::string text = fmt::format("no group \"{}\"", visible(name));
  if (const Result<std::vector<GroupListing>> groups = list_groups(cluster)) {
    std::vector<std::string> names;
    for (const GroupListing& group : *groups) names.push_back(group.name);
    const std::string near = nearest(name, names);
    if (!near.empty() && near == name) {
      text += "; it came to be just now, or is of a kind that this can't show";
    } else if (!near.empty()) {
      text += fmt::format("; did you mean \"{}\"?", visible(near));
    } else {
      text += names.empty() ? "; there are no groups yet (they come with their first member or commit)"
                            : "; millrace group list shows all";
    }
  }
  return {ErrorCode::kGroupIdNotFound, std::move(text)};
}

}  // namespace millrace::tools
