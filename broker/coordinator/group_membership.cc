// SyncGroup v0-5, Heartbeat v0-4, LeaveGroup v0-5.
#include <utility>

#include "broker/coordinator/group_coordinator.h"

namespace millrace::coordinator {
namespace {

// KIP-559: what a client believes of the protocol, if it says so, is what the group has.
bool contradicts(const std::optional<std::string_view>& claimed, const std::optional<std::string>& actual) {
  return claimed && actual && *claimed != *actual;
}

}  // namespace

ErrorCode GroupCoordinator::check_member(const ClassicGroup& group, std::string_view member,
                                         const std::optional<std::string_view>& instance) {
  if (instance) {
    const ClassicMember* known = group.find_static(*instance);
    if (known == nullptr) return ErrorCode::kUnknownMemberId;
    if (known->id != member) return ErrorCode::kFencedInstanceId;
  }
  return group.find(member) == nullptr ? ErrorCode::kUnknownMemberId : ErrorCode::kNone;
}

void GroupCoordinator::handle_request(uint64_t ticket, const SyncGroup& request, int64_t now_ms) {
  const auto refuse = [&](ErrorCode error) { answer(ticket, SyncGroupResult{.error = error}); };
  if (request.group.empty()) return refuse(ErrorCode::kInvalidGroupId);
  Group* group = find(request.group);
  if (group == nullptr) return refuse(ErrorCode::kUnknownMemberId);
  if (group->consumer() != nullptr) return sync_with_consumer_group(ticket, request, *group, now_ms);
  auto& classic = std::get<ClassicGroup>(group->kind);
  const ErrorCode error = check_member(classic, request.member, request.instance);
  if (error != ErrorCode::kNone) return refuse(error);
  if (request.generation != classic.generation) return refuse(ErrorCode::kIllegalGeneration);
  if (contradicts(request.protocol_type, classic.protocol_type) ||
      contradicts(request.protocol, classic.protocol)) {
    return refuse(ErrorCode::kInconsistentGroupProtocol);
  }
  ClassicMember& member = *classic.find(request.member);
  switch (classic.state) {
    case GroupState::kEmpty:
      return refuse(ErrorCode::kUnknownMemberId);
    case GroupState::kPreparingRebalance:
      return refuse(ErrorCode::kRebalanceInProgress);
    case GroupState::kCompletingRebalance:
      return sync_completing(ticket, request, *group, member, now_ms);
    case GroupState::kStable:
      synced(classic, request.member);
      return answer(ticket, SyncGroupResult{ErrorCode::kNone, classic.protocol_type, classic.protocol,
                                            member.assignment});
  }
}

void GroupCoordinator::sync_completing(uint64_t ticket, const SyncGroup& request, Group& group,
                                       ClassicMember& member, int64_t now_ms) {
  auto& classic = std::get<ClassicGroup>(group.kind);
  answer_sync(member, {.error = ErrorCode::kRebalanceInProgress});
  member.sync_ticket = ticket;
  synced(classic, request.member);
  // The leader's first word counts: a repeated sync waits for the same assignment.
  if (!classic.is_leader(member.id) || classic.storing_generation == classic.generation) return;
  classic.storing_generation = classic.generation;
  // The assignment takes effect once it is committed: what a member is told must survive us.
  AssignmentStored stored{group.ref(), classic.generation, {}};
  for (const SyncGroup::Assignment& one : request.assignments) {
    if (classic.find(one.member) == nullptr) continue;
    stored.assignments.insert_or_assign(std::string(one.member),
                                        Buffer(one.assignment.begin(), one.assignment.end()));
  }
  int64_t bytes = 0;
  for (const auto& [id, assignment] : stored.assignments) bytes += static_cast<int64_t>(assignment.size());
  int64_t former = 0;
  for (const auto& [id, one] : classic.members()) former += static_cast<int64_t>(one->assignment.size());
  const ErrorCode room = check_room(&group, group.id, bytes - former, now_ms);
  if (room != ErrorCode::kNone) return assignment_failed(stored, room, now_ms);
  classic.storing.join(classic.held);
  classic.storing.set(bytes);
  StoredGroup record = classic.stored();
  for (StoredMember& one : record.members) {
    const auto found = stored.assignments.find(one.member_id);
    one.assignment = found == stored.assignments.end() ? Buffer() : found->second;
  }
  std::vector<GroupRecord> records;
  records.push_back(GroupMetadataRecord{group.id, std::move(record)});
  write(std::move(records), false, std::move(stored));
}

void GroupCoordinator::synced(ClassicGroup& group, std::string_view member) {
  if (const auto found = group.pending_sync.find(member); found != group.pending_sync.end()) {
    group.pending_sync.erase(found);
  }
  if (group.pending_sync.empty()) group.sync_timer.cancel();
}

void GroupCoordinator::assignment_stored(AssignmentStored& stored, int64_t now_ms) {
  Group* group = find(stored.group);
  if (group == nullptr || group->classic() == nullptr) return;
  auto& classic = std::get<ClassicGroup>(group->kind);
  if (classic.storing_generation == stored.generation) classic.storing.set(0);
  // Another rebalance may have begun while the record was on its way.
  if (classic.state != GroupState::kCompletingRebalance || classic.generation != stored.generation) return;
  for (const auto& [id, member] : classic.members()) {
    const auto found = stored.assignments.find(id);
    classic.set_assignment(*member, found == stored.assignments.end() ? Buffer() : std::move(found->second));
  }
  propagate_assignment(*group, ErrorCode::kNone, now_ms);
  classic.transition(GroupState::kStable, now_ms);
}

void GroupCoordinator::assignment_failed(AssignmentStored& stored, ErrorCode error, int64_t now_ms) {
  Group* group = find(stored.group);
  if (group == nullptr || group->classic() == nullptr) return;
  auto& classic = std::get<ClassicGroup>(group->kind);
  if (classic.state != GroupState::kCompletingRebalance || classic.generation != stored.generation) return;
  classic.storing.set(0);
  for (const auto& [id, member] : classic.members()) classic.set_assignment(*member, {});
  propagate_assignment(*group, error, now_ms);
  prepare_rebalance(*group, now_ms);
}

void GroupCoordinator::handle_request(uint64_t ticket, const Heartbeat& request, int64_t now_ms) {
  const auto reply = [&](ErrorCode error) { answer(ticket, HeartbeatResult{error}); };
  if (request.group.empty()) return reply(ErrorCode::kInvalidGroupId);
  Group* group = find(request.group);
  if (group == nullptr) return reply(ErrorCode::kUnknownMemberId);
  if (group->consumer() != nullptr) return heartbeat_to_consumer_group(ticket, request, *group, now_ms);
  auto& classic = std::get<ClassicGroup>(group->kind);
  const ErrorCode error = check_member(classic, request.member, request.instance);
  if (error != ErrorCode::kNone) return reply(error);
  if (request.generation != classic.generation) return reply(ErrorCode::kIllegalGeneration);
  ClassicMember& member = *classic.find(request.member);
  start_session(*group, member, member.session_timeout_ms, now_ms);
  reply(classic.state == GroupState::kPreparingRebalance ? ErrorCode::kRebalanceInProgress
                                                         : ErrorCode::kNone);
}

void GroupCoordinator::handle_request(uint64_t ticket, const LeaveGroup& request, int64_t now_ms) {
  LeaveGroupResult result;
  if (request.group.empty()) {
    result.error = ErrorCode::kInvalidGroupId;
    return answer(ticket, std::move(result));
  }
  Group* group = find(request.group);
  if (group != nullptr && group->consumer() != nullptr)
    return leave_consumer_group(ticket, request, *group, now_ms);
  bool someone_left = false;
  for (const LeaveGroup::Member& member : request.members) {
    const ErrorCode error = group == nullptr ? ErrorCode::kUnknownMemberId : leave(*group, member);
    someone_left |= error == ErrorCode::kNone;
    auto& out = result.members.emplace_back(LeaveGroupResult::Member{std::string(member.member), {}, error});
    if (member.instance) out.instance = std::string(*member.instance);
  }
  if (someone_left) {
    const GroupState state = std::get<ClassicGroup>(group->kind).state;
    if (state != GroupState::kEmpty) rebalance_or_complete_join(*group, now_ms);
  }
  answer(ticket, std::move(result));
}

ErrorCode GroupCoordinator::leave(Group& group, const LeaveGroup::Member& member) {
  auto& classic = std::get<ClassicGroup>(group.kind);
  if (member.member.empty()) {
    ClassicMember* known = member.instance ? classic.find_static(*member.instance) : nullptr;
    if (known == nullptr) return ErrorCode::kUnknownMemberId;
    remove_member(group, *known);
    return ErrorCode::kNone;
  }
  if (classic.pending.contains(member.member)) {
    classic.remove(member.member);
    return ErrorCode::kNone;
  }
  const ErrorCode error = check_member(classic, member.member, member.instance);
  if (error == ErrorCode::kNone) remove_member(group, *classic.find(member.member));
  return error;
}

}  // namespace millrace::coordinator
