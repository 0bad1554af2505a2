// How a rebalance goes: everybody joins, a generation begins, the leader's assignment comes with its sync.
#include <algorithm>
#include <utility>

#include "broker/coordinator/group_coordinator.h"

namespace millrace::coordinator {

void GroupCoordinator::rebalance_or_complete_join(Group& group, int64_t now_ms) {
  if (std::get<ClassicGroup>(group.kind).state == GroupState::kPreparingRebalance) {
    maybe_complete_join(group, now_ms);
  } else {
    prepare_rebalance(group, now_ms);
  }
}

void GroupCoordinator::prepare_rebalance(Group& group, int64_t now_ms) {
  auto& classic = std::get<ClassicGroup>(group.kind);
  if (classic.state == GroupState::kCompletingRebalance) {
    for (const auto& [id, member] : classic.members()) classic.set_assignment(*member, {});
    propagate_assignment(group, ErrorCode::kRebalanceInProgress, now_ms);
  }
  classic.pending_sync.clear();
  classic.sync_timer.cancel();
  const bool initial = classic.state == GroupState::kEmpty;
  classic.transition(GroupState::kPreparingRebalance, now_ms);
  const DeadlineTarget join{DeadlineTarget::Kind::kJoin, &group, nullptr};
  if (initial) {
    // The members of a new group start at about the same time: wait for more of them, so that few generations
    // follow.
    classic.initial_delay_ms = settings_.initial_rebalance_delay_ms;
    classic.initial_remaining_ms =
        std::max(classic.rebalance_timeout_ms() - settings_.initial_rebalance_delay_ms, 0);
    classic.member_added = false;
    classic.join_timer.arm(deadlines_, now_ms + classic.initial_delay_ms, join);
  } else if (classic.all_joined()) {
    complete_join(group, now_ms);
  } else {
    classic.join_timer.arm(deadlines_, now_ms + std::max(classic.rebalance_timeout_ms(), 1), join);
  }
}

void GroupCoordinator::maybe_complete_join(Group& group, int64_t now_ms) {
  const auto& classic = std::get<ClassicGroup>(group.kind);
  if (classic.state != GroupState::kPreparingRebalance) return;
  if (classic.previous_state == GroupState::kEmpty) return;  // the initial delay runs out first
  if (classic.all_joined()) complete_join(group, now_ms);
}

void GroupCoordinator::end_initial_delay(Group& group, int64_t now_ms) {
  auto& classic = std::get<ClassicGroup>(group.kind);
  const bool initial = classic.previous_state == GroupState::kEmpty;
  if (!initial || !classic.member_added || classic.initial_remaining_ms == 0)
    return complete_join(group, now_ms);
  classic.member_added = false;
  const int32_t delay_ms = std::min(settings_.initial_rebalance_delay_ms, classic.initial_remaining_ms);
  classic.initial_remaining_ms = std::max(classic.initial_remaining_ms - classic.initial_delay_ms, 0);
  classic.initial_delay_ms = delay_ms;
  classic.join_timer.arm(deadlines_, now_ms + delay_ms, {DeadlineTarget::Kind::kJoin, &group, nullptr});
}

void GroupCoordinator::complete_join(Group& group, int64_t now_ms) {
  auto& classic = std::get<ClassicGroup>(group.kind);
  classic.join_timer.cancel();
  // Dynamic members that have not come back are out. Static ones may: until their session ends they keep
  // their place.
  std::vector<std::string> missing;
  for (const auto& [id, member] : classic.members()) {
    if (!member->join_ticket && !member->is_static()) missing.push_back(id);
  }
  for (const std::string& id : missing) classic.remove(id);
  if (!classic.elect_joined_leader() && !classic.members().empty()) {
    // Only static members, none of them here: wait until they come or their sessions end.
    classic.join_timer.arm(deadlines_, now_ms + std::max(classic.rebalance_timeout_ms(), 1),
                           {DeadlineTarget::Kind::kJoin, &group, nullptr});
    return;
  }
  classic.next_generation(now_ms);
  if (classic.state == GroupState::kEmpty) return write_group(group, {});
  for (const auto& [id, member] : classic.members()) {
    answer_join(classic, *member, joined(classic, *member));
    start_session(group, *member, member->session_timeout_ms, now_ms);
    member->is_new = false;
    classic.pending_sync.insert(id);
  }
  classic.sync_timer.arm(deadlines_, now_ms + std::max(classic.rebalance_timeout_ms(), 1),
                         {DeadlineTarget::Kind::kSync, &group, nullptr});
}

void GroupCoordinator::expire_sync(Group& group, int64_t now_ms) {
  auto& classic = std::get<ClassicGroup>(group.kind);
  if (classic.state != GroupState::kCompletingRebalance && classic.state != GroupState::kStable) return;
  if (classic.pending_sync.empty()) return;
  const auto silent = std::exchange(classic.pending_sync, {});
  for (const std::string& id : silent) {
    if (ClassicMember* member = classic.find(id)) remove_member(group, *member);
  }
  prepare_rebalance(group, now_ms);
}

void GroupCoordinator::expire_session(Group& group, ClassicMember& member, int64_t now_ms) {
  auto& classic = std::get<ClassicGroup>(group.kind);
  // Whoever waits for us needs no heartbeat; but one that is new may have given up on its request long ago.
  if (!member.is_new && (member.join_ticket || member.sync_ticket)) return;
  remove_member(group, member);
  if (classic.state == GroupState::kStable || classic.state == GroupState::kCompletingRebalance) {
    prepare_rebalance(group, now_ms);
  } else if (classic.state == GroupState::kPreparingRebalance && classic.all_joined()) {
    complete_join(group, now_ms);
  }
}

void GroupCoordinator::expire_pending(Group& group, std::string id, int64_t now_ms) {
  auto& classic = std::get<ClassicGroup>(group.kind);
  classic.remove(id);
  if (classic.state == GroupState::kPreparingRebalance && classic.all_joined()) complete_join(group, now_ms);
}

void GroupCoordinator::remove_member(Group& group, ClassicMember& member) {
  auto& classic = std::get<ClassicGroup>(group.kind);
  // A client that still waits has to start over, as one without an id.
  answer_join(classic, member, {.error = ErrorCode::kUnknownMemberId});
  answer_sync(member, {.error = ErrorCode::kUnknownMemberId});
  classic.remove(member.id);
}

void GroupCoordinator::answer_join(ClassicGroup& group, ClassicMember& member, JoinGroupResult result) {
  if (!member.join_ticket) return;
  const uint64_t ticket = *member.join_ticket;
  group.set_join_ticket(member, std::nullopt);
  answer(ticket, std::move(result));
}

void GroupCoordinator::answer_sync(ClassicMember& member, SyncGroupResult result) {
  if (!member.sync_ticket) return;
  answer(*std::exchange(member.sync_ticket, std::nullopt), std::move(result));
}

void GroupCoordinator::propagate_assignment(Group& group, ErrorCode error, int64_t now_ms) {
  auto& classic = std::get<ClassicGroup>(group.kind);
  for (const auto& [id, member] : classic.members()) {
    if (!member->sync_ticket) continue;
    SyncGroupResult result{.error = error};
    if (error == ErrorCode::kNone) {
      result.protocol_type = classic.protocol_type;
      result.protocol = classic.protocol;
      result.assignment = member->assignment;
    }
    answer_sync(*member, std::move(result));
    start_session(group, *member, member->session_timeout_ms, now_ms);
  }
}

void GroupCoordinator::start_session(Group& group, ClassicMember& member, int64_t timeout_ms,
                                     int64_t now_ms) {
  member.session.arm(deadlines_, now_ms + timeout_ms, {DeadlineTarget::Kind::kSession, &group, &member});
}

}  // namespace millrace::coordinator
