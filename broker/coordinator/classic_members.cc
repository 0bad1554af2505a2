// Classic members of consumer groups (KIP-848, KIP-1099): JoinGroup, SyncGroup, Heartbeat and LeaveGroup of a
// group that some of the members know by the consumer protocol; and who may commit and fetch there.
#include <algorithm>
#include <utility>

#include "broker/coordinator/consumer_subscription.h"
#include "broker/coordinator/group_coordinator.h"

namespace millrace::coordinator {
namespace {

std::set<std::string_view> protocol_names(const JoinGroup& request) {
  std::set<std::string_view> names;
  for (const JoinGroup::Protocol& protocol : request.protocols) names.insert(protocol.name);
  return names;
}

MemberMetadata updated(const MemberMetadata& before, const JoinGroup& request,
                       const ConsumerSubscription& subscription) {
  MemberMetadata metadata = before;
  if (request.instance) metadata.instance_id = std::string(*request.instance);
  if (subscription.rack) metadata.rack_id = std::string(*subscription.rack);
  if (request.rebalance_timeout_ms != -1) metadata.rebalance_timeout_ms = request.rebalance_timeout_ms;
  metadata.topics = {subscription.topics.begin(), subscription.topics.end()};
  metadata.regex.clear();
  metadata.client_id = std::string(request.client_id);
  metadata.client_host = std::string(request.client_host);
  metadata.classic = ClassicMembership{request.session_timeout_ms, {}};
  for (const JoinGroup::Protocol& protocol : request.protocols) {
    metadata.classic->protocols.push_back(
        {std::string(protocol.name), Buffer(protocol.metadata.begin(), protocol.metadata.end())});
  }
  return metadata;
}

Assignment owned_partitions(const ConsumerSubscription& subscription, const TopicDirectory& topics) {
  Assignment owned;
  for (const NamedPartitions& named : subscription.owned) {
    const auto topic = topics.find(named.topic);
    if (topic && !named.partitions.empty())
      owned[topic->id].insert(named.partitions.begin(), named.partitions.end());
  }
  return owned;
}

const std::string& protocol_of(const MemberMetadata& metadata) {
  return metadata.classic->protocols.front().name;
}

// At which epoch the member got the partition; nothing if it isn't its own.
std::optional<int32_t> owned_since(const MemberAssignment& assignment, const Uuid& topic, int32_t partition) {
  for (const OwnedPartitions* owned : {&assignment.assigned, &assignment.pending_revocation}) {
    const auto partitions = owned->find(topic);
    if (partitions == owned->end()) continue;
    const auto found = partitions->second.find(partition);
    if (found != partitions->second.end()) return found->second;
  }
  return std::nullopt;
}

}  // namespace

void GroupCoordinator::join_consumer_group(uint64_t ticket, const JoinGroup& request, Group& group,
                                           int64_t now_ms) {
  ConsumerGroup& consumer = *group.consumer();
  const auto refuse = [&](ErrorCode error) { refuse_join(ticket, request.member, error); };
  std::string id(request.member);
  if (id.empty()) id = random_uuid_().to_string();
  if (consumer.members().size() >= static_cast<size_t>(std::max(settings_.consumer_max_size, 0)) &&
      consumer.find(id) == nullptr) {
    return refuse(ErrorCode::kGroupMaxSizeReached);
  }
  if (request.protocol_type != ConsumerGroup::kProtocolType || !consumer.supports(protocol_names(request)))
    return refuse(ErrorCode::kInconsistentGroupProtocol);
  const auto subscription = read_subscription(request.protocols.front().metadata);
  if (!subscription) return refuse(ErrorCode::kInconsistentGroupProtocol);
  if (request.member.empty() && !request.instance && request.member_id_required)
    return refuse_join(ticket, id, ErrorCode::kMemberIdRequired);

  const ConsumerMember* known =
      request.instance ? consumer.find_static(*request.instance) : consumer.find(id);
  if (request.instance && !request.member.empty()) {
    if (known == nullptr) return refuse(ErrorCode::kUnknownMemberId);
    if (known->id != id) return refuse(ErrorCode::kFencedInstanceId);
  }
  const bool replaces = known != nullptr && known->id != id;
  const bool downgrades = replaces && can_downgrade(consumer, {known}, consumer.members().size());
  ConsumerGroupChange change(group.id, consumer, *topics_, settings_, now_ms);
  if (known == nullptr) {
    change.subscribe(id);
  } else {
    replaces ? change.take_over(*known, id) : change.rejoin(*known);
  }
  MemberMetadata metadata = updated(change.metadata(), request, *subscription);
  const int64_t more = bytes_of(id, metadata) - (known == nullptr ? 0 : bytes_of(known->id, known->metadata));
  const ErrorCode room = check_room(&group, group.id, more, now_ms);
  if (room != ErrorCode::kNone) return refuse(room);
  if (!change.update(std::move(metadata))) return refuse(ErrorCode::kUnknownServerError);
  JoinGroupResult result;
  result.member = id;
  result.protocol_type = std::string(ConsumerGroup::kProtocolType);
  result.protocol = protocol_of(change.metadata());
  if (downgrades) {
    result.generation = consumer.epoch();
    GroupDowngraded then{
        group.id, {}, {}, change.subscription_changed(), SendAnswer{ticket, std::move(result)}};
    return downgrade(group, {known},
                     Replacement{known, change.member(), change.metadata(), change.assignment()},
                     std::move(then), now_ms);
  }
  const Assignment owned = owned_partitions(*subscription, *topics_);
  if (!change.advance(&owned)) return refuse(ErrorCode::kUnknownMemberId);
  consumer.set_stale(false);
  result.generation = change.assignment().epoch;
  ClassicMemberJoined then{group.ref(), {ticket, std::move(result)}, request.rebalance_timeout_ms};
  auto records = change.take_records();
  if (!records.empty()) return write(std::move(records), true, std::move(then));
  if (group.last_offset < committed_end_) return classic_member_joined(then, now_ms);
  uncommitted_.emplace(group.last_offset, std::move(then));
}

void GroupCoordinator::classic_member_joined(ClassicMemberJoined& joined, int64_t now_ms) {
  auto& result = std::get<JoinGroupResult>(joined.answer.response);
  Group* group = find(joined.group);
  const ConsumerGroup* consumer = group == nullptr ? nullptr : group->consumer();
  ConsumerMember* member = consumer == nullptr ? nullptr : consumer->find(result.member);
  if (member != nullptr && member->is_classic()) {
    member->join.cancel();
    start_session(*group, *member, now_ms);
    member->sync.arm(deadlines_, now_ms + std::max(joined.rebalance_timeout_ms, 1),
                     {DeadlineTarget::Kind::kConsumerSync, group, member});
  }
  answer(joined.answer.ticket, std::move(joined.answer.response));
}

Result<ConsumerMember*> GroupCoordinator::find_classic(const ConsumerGroup& group, std::string_view member,
                                                       const std::optional<std::string_view>& instance,
                                                       int32_t generation) {
  ConsumerMember* known = instance ? group.find_static(*instance) : group.find(member);
  if (known == nullptr) return fail(ErrorCode::kUnknownMemberId);
  if (known->id != member) return fail(ErrorCode::kFencedInstanceId);
  if (!known->is_classic()) return fail(ErrorCode::kUnknownMemberId);
  if (known->assignment.epoch != generation) return fail(ErrorCode::kIllegalGeneration);
  return known;
}

// The member is told to rejoin; it has the rebalance timeout to do so.
void GroupCoordinator::await_join(Group& group, ConsumerMember& member, int64_t now_ms) {
  if (member.join.armed()) return;
  member.join.arm(deadlines_, now_ms + std::max(member.metadata.rebalance_timeout_ms, 1),
                  {DeadlineTarget::Kind::kConsumerJoin, &group, &member});
}

void GroupCoordinator::sync_with_consumer_group(uint64_t ticket, const SyncGroup& request, Group& group,
                                                int64_t now_ms) {
  const auto refuse = [&](ErrorCode error) { answer(ticket, SyncGroupResult{.error = error}); };
  const ConsumerGroup& consumer = *group.consumer();
  const auto found = find_classic(consumer, request.member, request.instance, request.generation);
  if (!found) return refuse(found.error().code);
  ConsumerMember& member = **found;
  const std::string& protocol = protocol_of(member.metadata);
  if ((request.protocol_type && *request.protocol_type != ConsumerGroup::kProtocolType) ||
      (request.protocol && *request.protocol != protocol)) {
    return refuse(ErrorCode::kInconsistentGroupProtocol);
  }
  if (consumer.epoch() > member.assignment.epoch &&
      member.assignment.state != MemberState::kUnrevokedPartitions) {
    await_join(group, member, now_ms);
    return refuse(ErrorCode::kRebalanceInProgress);
  }
  member.sync.cancel();
  start_session(group, member, now_ms);
  std::map<std::string, std::vector<int32_t>> partitions;
  for (const auto& [id, owned] : member.assignment.assigned) {
    const auto topic = topics_->find(id);
    if (!topic) continue;
    for (const auto& [partition, since] : owned) partitions[std::string(topic->name)].push_back(partition);
  }
  const auto subscription = read_subscription(member.metadata.classic->protocols.front().metadata);
  answer_when_stored(
      &group, ticket,
      SyncGroupResult{ErrorCode::kNone, std::string(ConsumerGroup::kProtocolType), protocol,
                      write_assignment(subscription ? subscription->version : int16_t{0}, partitions)});
}

void GroupCoordinator::heartbeat_to_consumer_group(uint64_t ticket, const Heartbeat& request, Group& group,
                                                   int64_t now_ms) {
  ConsumerGroup& consumer = *group.consumer();
  const auto found = find_classic(consumer, request.member, request.instance, request.generation);
  if (!found) return answer(ticket, HeartbeatResult{found.error().code});
  ConsumerMember& member = **found;
  start_session(group, member, now_ms);
  const MemberAssignment& assignment = member.assignment;
  bool should_rejoin =
      assignment.epoch < consumer.epoch() || assignment.state == MemberState::kUnrevokedPartitions ||
      (assignment.state == MemberState::kUnreleasedPartitions && !consumer.waits_for_partitions(member));
  // It rejoins for what concerns it: not for a topic that no expression stands for, nor after a restart.
  if (!should_rejoin && consumer.topics_stale) {
    ConsumerGroupChange change(group.id, consumer, *topics_, settings_, now_ms);
    should_rejoin = change.topics_differ();
    if (!should_rejoin) consumer.set_stale(false);
  }
  if (should_rejoin) await_join(group, member, now_ms);
  answer(ticket, HeartbeatResult{should_rejoin ? ErrorCode::kRebalanceInProgress : ErrorCode::kNone});
}

void GroupCoordinator::leave_consumer_group(uint64_t ticket, const LeaveGroup& request, Group& group,
                                            int64_t now_ms) {
  const ConsumerGroup& consumer = *group.consumer();
  LeaveGroupResult result;
  std::vector<const ConsumerMember*> leaving;
  for (const LeaveGroup::Member& member : request.members) {
    const ConsumerMember* known =
        member.instance ? consumer.find_static(*member.instance) : consumer.find(member.member);
    ErrorCode error = known == nullptr ? ErrorCode::kUnknownMemberId : ErrorCode::kNone;
    if (known != nullptr && member.instance && !member.member.empty() && known->id != member.member)
      error = ErrorCode::kFencedInstanceId;
    auto& out = result.members.emplace_back(LeaveGroupResult::Member{std::string(member.member), {}, error});
    if (member.instance) out.instance = std::string(*member.instance);
    if (error == ErrorCode::kNone && std::ranges::find(leaving, known) == leaving.end())
      leaving.push_back(known);
  }
  if (leaving.empty()) return answer(ticket, std::move(result));
  fence(group, leaving, SendAnswer{ticket, std::move(result)}, now_ms);
}

ErrorCode GroupCoordinator::check_commit(const OffsetCommit& request, const ConsumerGroup& group) {
  if (request.generation < 0 && group.members().empty()) return ErrorCode::kNone;
  const ConsumerMember* member = group.find(request.member);
  if (member == nullptr) return ErrorCode::kUnknownMemberId;
  if (!member->is_classic() && !request.reports_missing_group) return ErrorCode::kUnsupportedVersion;
  const MemberAssignment& assignment = member->assignment;
  if (request.generation == assignment.epoch) return ErrorCode::kNone;
  const ErrorCode stale = member->is_classic() ? ErrorCode::kIllegalGeneration : ErrorCode::kStaleMemberEpoch;
  if (request.generation > assignment.epoch) return stale;
  // The member may not have heard of its new epoch yet: what was its own before, it may still commit.
  for (const OffsetCommit::Topic& topic : request.topics) {
    for (const OffsetCommit::Partition& partition : topic.partitions) {
      const auto since = owned_since(assignment, topic.id, partition.partition);
      if (!since || request.generation < *since) return stale;
    }
  }
  return ErrorCode::kNone;
}

ErrorCode GroupCoordinator::check_fetch(const OffsetFetch& request, const ConsumerGroup& group) {
  if (!request.member && request.member_epoch < 0) return ErrorCode::kNone;
  const ConsumerMember* member = group.find(request.member.value_or(""));
  if (member == nullptr) return ErrorCode::kUnknownMemberId;
  if (request.member_epoch == member->assignment.epoch) return ErrorCode::kNone;
  return member->is_classic() ? ErrorCode::kIllegalGeneration : ErrorCode::kStaleMemberEpoch;
}

}  // namespace millrace::coordinator
