// ConsumerGroupHeartbeat v0-1.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "broker/coordinator/assignor.h"
#include "broker/coordinator/group_coordinator.h"

namespace millrace::coordinator {
namespace {

bool is_blank(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<uint8_t>(c) <= ' '; });
}

// While its group changes, a member is asked to come back after this: the next step of a rebalance may be
// due.
constexpr int32_t kSettlingHeartbeatMs = 500;

// Names are part of record keys, which can't hold longer ones.
bool is_too_long(std::string_view text) { return text.size() > INT16_MAX; }

std::optional<std::string> owned(const std::optional<std::string_view>& text) {
  if (!text) return std::nullopt;
  return std::string(*text);
}

// What is not said stays as it was.
MemberMetadata updated(const MemberMetadata& before, const ConsumerHeartbeat& request) {
  MemberMetadata metadata = before;
  if (request.instance) metadata.instance_id = owned(request.instance);
  if (request.rack) metadata.rack_id = owned(request.rack);
  if (request.rebalance_timeout_ms != -1) metadata.rebalance_timeout_ms = request.rebalance_timeout_ms;
  if (request.assignor) metadata.assignor = owned(request.assignor);
  if (request.topics) metadata.topics = {request.topics->begin(), request.topics->end()};
  if (request.regex) metadata.regex = std::string(*request.regex);
  metadata.client_id = std::string(request.client_id);
  metadata.client_host = std::string(request.client_host);
  metadata.classic.reset();
  return metadata;
}

bool is_subset(const std::optional<Assignment>& owned, const OwnedPartitions& assigned) {
  if (!owned) return false;
  return std::ranges::all_of(*owned, [&](const auto& entry) {
    const auto topic = assigned.find(entry.first);
    return topic != assigned.end() && std::ranges::all_of(entry.second, [&](int32_t partition) {
             return topic->second.contains(partition);
           });
  });
}

// A member may be one epoch behind: it has not got our last answer. What it owns shows that it is itself.
Result<> check_epoch(const ConsumerMember& member, const ConsumerHeartbeat& request) {
  const MemberAssignment& known = member.assignment;
  if (request.epoch == kJoiningEpoch || request.epoch == known.epoch) return {};
  const bool is_greater = request.epoch > known.epoch;
  if (!is_greater && request.epoch == known.previous_epoch && is_subset(request.owned, known.assigned))
    return {};
  return fail(
      ErrorCode::kFencedMemberEpoch,
      fmt::format("The consumer group member has a {} member epoch ({}) than the one known by the group "
                  "coordinator ({}). The member must abandon all its partitions and rejoin.",
                  is_greater ? "greater" : "smaller", request.epoch, known.epoch));
}

Error no_member(std::string_view member, std::string_view group) {
  return {ErrorCode::kUnknownMemberId, fmt::format("Member {} is not a member of group {}.", member, group)};
}

Error fenced_instance(std::string_view member, std::string_view instance, std::string_view by) {
  return {ErrorCode::kFencedInstanceId,
          fmt::format("Static member {} with instance id {} was fenced by member {}.", member, instance, by)};
}

Error unknown_instance(std::string_view instance) {
  return {ErrorCode::kUnknownMemberId, fmt::format("Instance id {} is unknown.", instance)};
}

Assignment partitions_of(const OwnedPartitions& owned) {
  Assignment assignment;
  for (const auto& [topic, partitions] : owned) {
    std::set<int32_t>& numbers = assignment[topic];
    for (const auto& [number, since] : partitions) numbers.insert(numbers.end(), number);
  }
  return assignment;
}

// Sent when joining, and again after an answer that was lost.
bool says_everything(const ConsumerHeartbeat& request) {
  return request.rebalance_timeout_ms != -1 && (request.topics || request.regex) && request.owned;
}

}  // namespace

Result<> GroupCoordinator::check_heartbeat(const ConsumerHeartbeat& request) const {
  const auto invalid = [](std::string text) { return fail(ErrorCode::kInvalidRequest, std::move(text)); };
  const bool needs_id =
      !request.makes_member_id || request.epoch > kJoiningEpoch || request.epoch == kLeavingEpoch;
  if (needs_id && is_blank(request.member)) return invalid("MemberId can't be empty.");
  if (is_blank(request.group)) return invalid("GroupId can't be empty.");
  if (request.instance && is_blank(*request.instance)) return invalid("InstanceId can't be empty.");
  if (request.rack && is_blank(*request.rack)) return invalid("RackId can't be empty.");
  if (is_too_long(request.group) || is_too_long(request.member)) return invalid("A name is too long.");
  if (request.epoch == kJoiningEpoch) {
    if (request.rebalance_timeout_ms == -1)
      return invalid("RebalanceTimeoutMs must be provided in first request.");
    if (!request.owned || !request.owned->empty())
      return invalid("TopicPartitions must be empty when (re-)joining.");
    if (!request.topics && !request.regex)
      return invalid(
          "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.");
  } else if (request.epoch == kStaticLeavingEpoch) {
    if (!request.instance) return invalid("InstanceId can't be null.");
  } else if (request.epoch < kStaticLeavingEpoch) {
    return invalid("MemberEpoch is invalid.");
  }
  if (request.regex && is_too_long(*request.regex)) {
    return fail(ErrorCode::kInvalidRegularExpression, "SubscribedTopicRegex is too long.");
  }
  const auto& assignors = settings_.consumer_assignors;
  if (request.assignor && std::ranges::find(assignors, *request.assignor) == assignors.end()) {
    return fail(ErrorCode::kUnsupportedAssignor,
                fmt::format("ServerAssignor {} is not supported. Supported assignors: {}.", *request.assignor,
                            fmt::join(assignors, ", ")));
  }
  return {};
}

void GroupCoordinator::handle_request(uint64_t ticket, const ConsumerHeartbeat& request, int64_t now_ms) {
  const auto refuse = [&](Error error) {
    answer(ticket, ConsumerHeartbeatResult{.error = std::move(error)});
  };
  if (auto valid = check_heartbeat(request); !valid) return refuse(std::move(valid.error()));
  if (request.epoch < kJoiningEpoch) return leave_consumer_group(ticket, request, now_ms);
  Group* group = find(request.group);
  auto joined = consumer_group_for(request, group, now_ms);
  if (!joined) return refuse(std::move(joined.error()));
  std::string member(request.member);
  if (member.empty()) member = random_uuid_().to_string();
  if (joined->group->members().size() >= static_cast<size_t>(std::max(settings_.consumer_max_size, 0)) &&
      joined->group->find(member) == nullptr) {
    return refuse({ErrorCode::kGroupMaxSizeReached,
                   fmt::format("The consumer group has reached its maximum capacity of {} members.",
                               settings_.consumer_max_size)});
  }
  ConsumerGroupChange change(request.group, *joined->group, *topics_, settings_, now_ms);
  if (auto found = find_member(*joined->group, request, std::move(member), change); !found)
    return refuse(std::move(found.error()));
  ConsumerMember* known = joined->group->find(change.member());
  if (known != nullptr && is_settled(*joined->group, *known, request)) {
    start_session(*group, *known, now_ms);
    return answer_when_stored(group, ticket,
                              ConsumerHeartbeatResult{.member = known->id,
                                                      .epoch = known->assignment.epoch,
                                                      .heartbeat_interval_ms = heartbeat_interval_ms(
                                                          request.group, *joined->group, now_ms)});
  }
  MemberMetadata metadata = updated(change.metadata(), request);
  const ConsumerMember* before = known;
  if (before == nullptr && request.instance) before = joined->group->find_static(*request.instance);
  int64_t more = bytes_of(change.member(), metadata);
  if (before != nullptr) more -= bytes_of(before->id, before->metadata);
  // A classic group that becomes one of this protocol has its subscriptions as names.
  if (joined->made && group != nullptr) more += joined->made->held.bytes() - group->classic()->held.bytes();
  if (const ErrorCode room = check_room(group, request.group, more, now_ms); room != ErrorCode::kNone) {
    return refuse(
        {room, room == ErrorCode::kGroupMaxSizeReached
                   ? fmt::format("What the members of group {} sent and were assigned takes all of the {} "
                                 "bytes that a group may have; subscribe to fewer topics.",
                                 request.group, settings_.max_group_bytes)
                   : "The coordinator has no memory for more members for now."});
  }
  if (auto valid = change.update(std::move(metadata)); !valid) return refuse(std::move(valid.error()));
  if (auto advanced = change.advance(request.owned ? &*request.owned : nullptr); !advanced)
    return refuse(std::move(advanced.error()));
  finish_heartbeat(ticket, request, std::move(*joined), change, now_ms);
}

// For one regular interval after each change the members come more often, as many as there are: together they
// make no more than a thousand heartbeats a second of it.
int32_t GroupCoordinator::heartbeat_interval_ms(std::string_view id, const ConsumerGroup& group,
                                                int64_t now_ms, bool changes) const {
  const int32_t regular_ms = config_of(id).consumer_heartbeat_interval_ms;
  if (!changes && now_ms - group.changed_ms >= regular_ms) return regular_ms;
  const auto members = static_cast<int32_t>(std::min<size_t>(group.members().size(), INT32_MAX));
  return std::min(regular_ms, std::max(kSettlingHeartbeatMs, members));
}

void GroupCoordinator::finish_heartbeat(uint64_t ticket, const ConsumerHeartbeat& request, Joined joined,
                                        ConsumerGroupChange& change, int64_t now_ms) {
  auto records = change.take_records();
  ConsumerHeartbeatResult result{
      .member = change.member(),
      .epoch = change.assignment().epoch,
      .heartbeat_interval_ms = heartbeat_interval_ms(request.group, *joined.group, now_ms, !records.empty())};
  if (request.epoch == kJoiningEpoch || says_everything(request) || change.assigned_changed())
    result.assignment = partitions_of(change.assignment().assigned);
  Group* group = find(request.group);
  ConsumerGroup* consumer = group == nullptr ? nullptr : group->consumer();
  ConsumerMember* known = consumer == nullptr ? nullptr : consumer->find(change.member());
  if (known != nullptr) start_session(*group, *known, now_ms);
  // Here, too, if it has to be written first: what can't be written makes them stale again.
  if (consumer != nullptr) consumer->set_stale(false);
  if (records.empty()) return answer_when_stored(group, ticket, std::move(result));
  records.insert(records.begin(), std::make_move_iterator(joined.records.begin()),
                 std::make_move_iterator(joined.records.end()));
  write(std::move(records), true, SendAnswer{ticket, std::move(result)});
}

// The group of the request, as a consumer group: a new one, or a classic one that becomes one.
Result<GroupCoordinator::Joined> GroupCoordinator::consumer_group_for(const ConsumerHeartbeat& request,
                                                                      Group* group, int64_t now_ms) const {
  const bool joins = request.epoch == kJoiningEpoch;
  if (group == nullptr && !joins) {
    return fail(ErrorCode::kGroupIdNotFound, fmt::format("Consumer group {} not found.", request.group));
  }
  Joined joined;
  if (group != nullptr && group->consumer() != nullptr) {
    joined.group = group->consumer();
    return joined;
  }
  const ClassicGroup* classic = group == nullptr ? nullptr : group->classic();
  const bool is_free = classic == nullptr || classic->state == GroupState::kEmpty;
  if (classic != nullptr && !joins) {
    return fail(ErrorCode::kGroupIdNotFound, fmt::format("Group {} is not a consumer group.", request.group));
  }
  if (!is_free) return upgrade(request.group, *classic, now_ms);
  if (classic != nullptr)
    joined.records.push_back(GroupMetadataRecord{std::string(request.group), std::nullopt});
  joined.made = std::make_unique<ConsumerGroup>();
  joined.group = joined.made.get();
  return joined;
}

// Finds the member's place, or makes it one.
Result<> GroupCoordinator::find_member(const ConsumerGroup& group, const ConsumerHeartbeat& request,
                                       std::string member, ConsumerGroupChange& change) const {
  const bool joins = request.epoch == kJoiningEpoch;
  if (!request.instance) {
    const ConsumerMember* known = group.find(member);
    if (known == nullptr && !joins) return std::unexpected(no_member(member, request.group));
    if (known == nullptr) {
      change.subscribe(std::move(member));
      return {};
    }
    change.rejoin(*known);
    return check_epoch(*known, request);
  }
  const ConsumerMember* known = group.find_static(*request.instance);
  if (!joins) {
    if (known == nullptr) return std::unexpected(unknown_instance(*request.instance));
    if (known->id != member) return std::unexpected(fenced_instance(member, *request.instance, known->id));
    change.rejoin(*known);
    return check_epoch(*known, request);
  }
  if (known == nullptr) {
    // Its id may be that of a member that had no instance so far.
    const ConsumerMember* same_id = group.find(member);
    same_id == nullptr ? change.subscribe(std::move(member)) : change.rejoin(*same_id);
    return {};
  }
  const bool is_away = known->assignment.epoch == kStaticLeavingEpoch;
  if (known->id == member && !is_away) {  // the same process
    change.rejoin(*known);
    return {};
  }
  if (!known->is_classic() && !is_away) {
    return fail(
        ErrorCode::kUnreleasedInstanceId,
        fmt::format("Static member {} with instance id {} cannot join the group because the instance id "
                    "is owned by {} member.",
                    member, *request.instance, known->id));
  }
  if (known->id != member && group.find(member) != nullptr) {
    return fail(ErrorCode::kInvalidRequest, fmt::format("Member {} has another instance id.", member));
  }
  change.take_over(*known, std::move(member));
  return {};
}

// Whether the request changes nothing, which most heartbeats don't.
bool GroupCoordinator::is_settled(const ConsumerGroup& group, const ConsumerMember& member,
                                  const ConsumerHeartbeat& request) const {
  if (group.topics_stale || (group.regexes_stale && !group.regexes().empty())) return false;
  if (group.epoch() > group.target_epoch() || !member.has_reached(group.target_epoch())) return false;
  if (request.epoch == kJoiningEpoch || request.topics || request.regex || request.rack || request.assignor ||
      request.rebalance_timeout_ms != -1 || member.is_classic()) {
    return false;
  }
  return (!request.instance || request.instance == member.metadata.instance_id) &&
         member.metadata.client_id == request.client_id && member.metadata.client_host == request.client_host;
}

void GroupCoordinator::leave_consumer_group(uint64_t ticket, const ConsumerHeartbeat& request,
                                            int64_t now_ms) {
  const auto refuse = [&](Error error) {
    answer(ticket, ConsumerHeartbeatResult{.error = std::move(error)});
  };
  Group* group = find(request.group);
  const ConsumerGroup* consumer = group == nullptr ? nullptr : group->consumer();
  if (consumer == nullptr) {
    return refuse({ErrorCode::kGroupIdNotFound,
                   fmt::format("Group {} {}.", request.group,
                               group == nullptr ? "not found" : "is not a consumer group")});
  }
  const ConsumerMember* member =
      request.instance ? consumer->find_static(*request.instance) : consumer->find(request.member);
  if (member == nullptr) {
    return refuse(request.instance ? unknown_instance(*request.instance)
                                   : no_member(request.member, request.group));
  }
  if (request.instance && member->id != request.member)
    return refuse(fenced_instance(request.member, *request.instance, member->id));
  SendAnswer then{ticket, ConsumerHeartbeatResult{.member = member->id, .epoch = request.epoch}};
  if (request.epoch == kLeavingEpoch) return fence(*group, {member}, std::move(then), now_ms);
  // It will be back before its session ends, and find its partitions.
  MemberAssignment away = member->assignment;
  away.epoch = kStaticLeavingEpoch;
  away.pending_revocation.clear();
  std::vector<GroupRecord> records;
  records.push_back(CurrentAssignmentRecord{group->id, member->id, std::move(away)});
  write(std::move(records), true, std::move(then));
}

}  // namespace millrace::coordinator
