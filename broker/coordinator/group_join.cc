// JoinGroup v0-9.
#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "broker/coordinator/group_coordinator.h"
#include "broker/coordinator/member_id.h"

namespace millrace::coordinator {
namespace {

// A protocol named twice counts once, as first named.
std::vector<ClassicMember::Protocol> owned(const std::vector<JoinGroup::Protocol>& protocols) {
  std::vector<ClassicMember::Protocol> out;
  std::set<std::string_view> seen;
  for (const JoinGroup::Protocol& protocol : protocols) {
    if (!seen.insert(protocol.name).second) continue;
    out.push_back({std::string(protocol.name), Buffer(protocol.metadata.begin(), protocol.metadata.end())});
  }
  return out;
}

// What a new member would hold by its request, roughly.
int64_t bytes_of(const JoinGroup& request) {
  ClassicMember member;
  const size_t id_size = request.member.empty() ? request.instance.value_or(request.client_id).size() + 37
                                                : request.member.size();
  size_t bytes = 4 * text_bytes(id_size) + text_bytes(request.client_id) + text_bytes(request.client_host);
  if (request.instance) bytes += kNodeBytes + 2 * text_bytes(*request.instance);
  for (const JoinGroup::Protocol& protocol : request.protocols)
    bytes += sizeof(ClassicMember::Protocol) + 2 * text_bytes(protocol.name) + protocol.metadata.size();
  return member.bytes() + static_cast<int64_t>(bytes);
}

}  // namespace

void GroupCoordinator::refuse_join(uint64_t ticket, std::string_view member, ErrorCode error) {
  JoinGroupResult result;
  result.error = error;
  result.member = std::string(member);
  answer(ticket, std::move(result));
}

void GroupCoordinator::handle_request(uint64_t ticket, const JoinGroup& request, int64_t now_ms) {
  if (request.group.empty()) return refuse_join(ticket, request.member, ErrorCode::kInvalidGroupId);
  if (!has_room_for_member_id(request)) return refuse_join(ticket, {}, ErrorCode::kUnknownServerError);
  if (request.session_timeout_ms < settings_.min_session_timeout_ms ||
      request.session_timeout_ms > settings_.max_session_timeout_ms) {
    return refuse_join(ticket, request.member, ErrorCode::kInvalidSessionTimeout);
  }
  Group* group = find(request.group);
  const ConsumerGroup* consumer = group == nullptr ? nullptr : group->consumer();
  if (consumer != nullptr && !consumer->members().empty())
    return join_consumer_group(ticket, request, *group, now_ms);
  const ErrorCode room = check_room(group, request, now_ms);
  if (room != ErrorCode::kNone) return refuse_join(ticket, request.member, room);
  if (group == nullptr || consumer != nullptr) {
    if (!request.member.empty()) return refuse_join(ticket, request.member, ErrorCode::kUnknownMemberId);
    if (request.protocol_type.empty() || request.protocols.empty()) {
      return refuse_join(ticket, {}, ErrorCode::kInconsistentGroupProtocol);
    }
    group = group == nullptr ? &create_classic(request.group, now_ms) : &make_classic(*group, now_ms);
  }
  auto& classic = std::get<ClassicGroup>(group->kind);
  if (!accepts(classic, request.member)) {
    refuse_join(ticket, {}, ErrorCode::kGroupMaxSizeReached);
    ClassicMember* member = classic.find(request.member);
    if (member != nullptr) remove_member(*group, *member);
    return maybe_complete_join(*group, now_ms);
  }
  if (!classic.supports(request.protocol_type, request.protocols)) {
    return refuse_join(ticket, request.member, ErrorCode::kInconsistentGroupProtocol);
  }
  request.member.empty() ? join_unknown(ticket, request, *group, now_ms)
                         : join_known(ticket, request, *group, now_ms);
}

GroupCoordinator::Group& GroupCoordinator::create_classic(std::string_view id, int64_t now_ms) {
  Group& group = create(id, now_ms);
  write_group(group, GroupCreated{group.id, nullptr});
  return group;
}

// A consumer group without members is a classic one for the first who joins it as such.
GroupCoordinator::Group& GroupCoordinator::make_classic(Group& group, int64_t now_ms) {
  std::vector<GroupRecord> records;
  ConsumerGroupChange::erase_group(group.id, *group.consumer(), records);
  GroupCreated then{group.id, std::make_unique<ConsumerGroup>(std::move(*group.consumer()))};
  const auto& classic = group.become<ClassicGroup>(now_ms);
  records.push_back(GroupMetadataRecord{group.id, classic.stored()});
  write(std::move(records), false, std::move(then));
  return group;
}

bool GroupCoordinator::accepts(const ClassicGroup& group, std::string_view member_id) const {
  const auto max_size = static_cast<size_t>(std::max(settings_.max_size, 0));
  const ClassicMember* member = group.find(member_id);
  switch (group.state) {
    case GroupState::kEmpty:
      return true;
    case GroupState::kPreparingRebalance:
      // Counted by who waits: the group may still be larger than group.max.size, and the last to rejoin are
      // turned away.
      return (member != nullptr && member->join_ticket) || group.awaiting_join() < max_size;
    case GroupState::kCompletingRebalance:
    case GroupState::kStable:
      return member != nullptr || group.members().size() < max_size;
  }
  return false;
}

// Whether there is memory for the member. One that is in may always say what it said before.
ErrorCode GroupCoordinator::check_room(const Group* group, const JoinGroup& request, int64_t now_ms) {
  const ClassicGroup* classic = group == nullptr ? nullptr : group->classic();
  const ClassicMember* member = nullptr;
  if (classic != nullptr) {
    const bool by_instance = request.member.empty() && request.instance;
    member = by_instance ? classic->find_static(*request.instance) : classic->find(request.member);
  }
  int64_t more = bytes_of(request);
  if (member != nullptr) more += static_cast<int64_t>(member->assignment.size()) - member->held.bytes();
  return check_room(group, request.group, more, now_ms);
}

void GroupCoordinator::join_unknown(uint64_t ticket, const JoinGroup& request, Group& group, int64_t now_ms) {
  auto& classic = std::get<ClassicGroup>(group.kind);
  std::string id = member_id(request.instance.value_or(request.client_id), random_uuid_());
  if (request.instance) {
    ClassicMember* existing = classic.find_static(*request.instance);
    if (existing != nullptr)
      return replace_static_member(ticket, request, group, *existing, std::move(id), now_ms);
    return add_member(ticket, request, group, std::move(id), now_ms);
  }
  if (!request.member_id_required) return add_member(ticket, request, group, std::move(id), now_ms);
  if (classic.pending.size() >= static_cast<size_t>(settings_.max_pending_members)) {
    return refuse_join(ticket, {}, ErrorCode::kGroupMaxSizeReached);
  }
  PendingMember& pending = classic.pending[id];
  pending.id = id;
  pending.held.join(classic.held);
  pending.held.set(static_cast<int64_t>(sizeof(pending) + kNodeBytes + 2 * text_bytes(id)));
  pending.session.arm(deadlines_, now_ms + request.session_timeout_ms,
                      {DeadlineTarget::Kind::kPendingMember, &group, &pending});
  refuse_join(ticket, id, ErrorCode::kMemberIdRequired);
}

void GroupCoordinator::join_known(uint64_t ticket, const JoinGroup& request, Group& group, int64_t now_ms) {
  auto& classic = std::get<ClassicGroup>(group.kind);
  if (classic.pending.contains(request.member) && !request.instance) {
    return add_member(ticket, request, group, std::string(request.member), now_ms);
  }
  const ErrorCode error = check_member(classic, request.member, request.instance);
  if (error != ErrorCode::kNone) return refuse_join(ticket, request.member, error);
  rejoin(ticket, request, group, *classic.find(request.member), now_ms);
}

void GroupCoordinator::rejoin(uint64_t ticket, const JoinGroup& request, Group& group, ClassicMember& member,
                              int64_t now_ms) {
  auto& classic = std::get<ClassicGroup>(group.kind);
  switch (classic.state) {
    case GroupState::kEmpty:  // has no members
      return refuse_join(ticket, request.member, ErrorCode::kUnknownMemberId);
    case GroupState::kPreparingRebalance:
      return update_member(ticket, request, group, member, now_ms);
    case GroupState::kCompletingRebalance:
      // It probably missed the answer to its first join.
      if (member.matches(request.protocols)) return answer(ticket, joined(classic, member));
      return update_member(ticket, request, group, member, now_ms);
    case GroupState::kStable: {
      // The leader asks for a rebalance by joining again: for a change that its metadata doesn't show (a new
      // partition).
      const bool unchanged = member.matches(request.protocols);
      if (classic.is_leader(member.id) || !unchanged)
        return update_member(ticket, request, group, member, now_ms);
      return answer(ticket, joined(classic, member));
    }
  }
}

void GroupCoordinator::add_member(uint64_t ticket, const JoinGroup& request, Group& group, std::string id,
                                  int64_t now_ms) {
  auto& classic = std::get<ClassicGroup>(group.kind);
  auto member = std::make_unique<ClassicMember>();
  member->id = std::move(id);
  if (request.instance) member->instance = std::string(*request.instance);
  member->client_id = std::string(request.client_id);
  member->client_host = std::string(request.client_host);
  member->session_timeout_ms = request.session_timeout_ms;
  member->rebalance_timeout_ms = request.rebalance_timeout_ms;
  member->protocols = owned(request.protocols);
  member->is_new = true;
  member->join_ticket = ticket;
  const bool initial =
      classic.state == GroupState::kPreparingRebalance && classic.previous_state == GroupState::kEmpty;
  if (initial) classic.member_added = true;
  if (classic.members().empty()) classic.protocol_type = std::string(request.protocol_type);
  ClassicMember& added = classic.add(std::move(member));
  // It has no id to heartbeat with while it waits, and its connection tells us nothing: a join that was given
  // up and repeated would leave a dead member behind each time.
  start_session(group, added, settings_.new_member_join_timeout_ms, now_ms);
  rebalance_or_complete_join(group, now_ms);
}

void GroupCoordinator::update_member(uint64_t ticket, const JoinGroup& request, Group& group,
                                     ClassicMember& member, int64_t now_ms) {
  auto& classic = std::get<ClassicGroup>(group.kind);
  classic.update(member, owned(request.protocols), request.rebalance_timeout_ms, request.session_timeout_ms);
  answer_join(classic, member, {.error = ErrorCode::kRebalanceInProgress, .member = member.id});
  classic.set_join_ticket(member, ticket);
  rebalance_or_complete_join(group, now_ms);
}

void GroupCoordinator::replace_static_member(uint64_t ticket, const JoinGroup& request, Group& group,
                                             ClassicMember& member, std::string new_id, int64_t now_ms) {
  auto& classic = std::get<ClassicGroup>(group.kind);
  // The process that had this instance's name before is fenced.
  answer_join(classic, member, {.error = ErrorCode::kFencedInstanceId, .member = member.id});
  answer_sync(member, {.error = ErrorCode::kFencedInstanceId});
  StaticMemberReplaced replaced{group.ref(),
                                *member.instance,
                                member.id,
                                new_id,
                                member.protocols,
                                member.rebalance_timeout_ms,
                                member.session_timeout_ms,
                                classic.leader.value_or(""),
                                request.can_skip_assignment};
  classic.rename(*request.instance, std::move(new_id));
  classic.update(member, owned(request.protocols), request.rebalance_timeout_ms, request.session_timeout_ms);
  classic.set_join_ticket(member, ticket);
  start_session(group, member, member.session_timeout_ms, now_ms);
  if (classic.state == GroupState::kCompletingRebalance) return prepare_rebalance(group, now_ms);
  if (classic.state != GroupState::kStable) return maybe_complete_join(group, now_ms);
  // Same protocol: the member takes its old assignment back and nobody else notices.
  if (classic.protocol == classic.select_protocol()) return write_group(group, std::move(replaced));
  prepare_rebalance(group, now_ms);
}

void GroupCoordinator::static_member_stored(StaticMemberReplaced& replaced, int64_t now_ms) {
  Group* group = find(replaced.group);
  if (group == nullptr || group->classic() == nullptr) return;
  auto& classic = std::get<ClassicGroup>(group->kind);
  ClassicMember* member = classic.find(replaced.new_id);
  // A rebalance that began in the meantime answers the join when it completes.
  if (member == nullptr || !member->join_ticket || classic.state != GroupState::kStable) return;
  JoinGroupResult result = joined(classic, *member);
  if (replaced.can_skip_assignment) {
    result.skip_assignment = classic.is_leader(member->id);
  } else {
    // Clients that can't be told to skip the assignment must not think that they lead.
    result.leader = replaced.old_leader;
    result.members.clear();
  }
  answer_join(classic, *member, std::move(result));
  start_session(*group, *member, member->session_timeout_ms, now_ms);
}

void GroupCoordinator::static_member_failed(StaticMemberReplaced& replaced, ErrorCode error, int64_t now_ms) {
  Group* group = find(replaced.group);
  if (group == nullptr || group->classic() == nullptr) return;
  auto& classic = std::get<ClassicGroup>(group->kind);
  ClassicMember* member = classic.find(replaced.new_id);
  if (member == nullptr) return;
  answer_join(classic, *member, {.error = error});
  classic.update(*member, std::move(replaced.old_protocols), replaced.old_rebalance_timeout_ms,
                 replaced.old_session_timeout_ms);
  classic.rename(replaced.instance, std::move(replaced.old_id));
  start_session(*group, *member, member->session_timeout_ms, now_ms);
}

JoinGroupResult GroupCoordinator::joined(const ClassicGroup& group, const ClassicMember& member) const {
  JoinGroupResult result;
  result.generation = group.generation;
  result.protocol_type = group.protocol_type;
  result.protocol = group.protocol;
  result.leader = group.leader.value_or("");
  result.member = member.id;
  if (!group.is_leader(member.id)) return result;
  result.members.reserve(group.members().size());
  for (const auto& [id, other] : group.members()) {
    const Bytes metadata = other->metadata(group.protocol.value_or(""));
    result.members.push_back({id, other->instance, Buffer(metadata.begin(), metadata.end())});
  }
  return result;
}

}  // namespace millrace::coordinator
