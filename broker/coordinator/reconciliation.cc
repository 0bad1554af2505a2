#include "broker/coordinator/reconciliation.h"

#include <algorithm>
#include <utility>

namespace millrace::coordinator {
namespace {

bool still_reports(const Reconciliation& input, const OwnedPartitions& revoked) {
  if (input.reported == nullptr) return true;
  return std::ranges::any_of(*input.reported, [&](const auto& entry) {
    const auto found = revoked.find(entry.first);
    return found != revoked.end() && std::ranges::any_of(entry.second, [&](int32_t partition) {
             return found->second.contains(partition);
           });
  });
}

MemberAssignment at_epoch(const MemberAssignment& current, int32_t epoch, MemberState state,
                          OwnedPartitions assigned, OwnedPartitions pending_revocation) {
  return {epoch, current.epoch, state, std::move(assigned), std::move(pending_revocation)};
}

// The member has changed its subscription and the target can't be reached yet: what it is not subscribed to
// any more goes at once.
MemberAssignment drop_unsubscribed(const Reconciliation& input) {
  const MemberAssignment& current = input.current;
  OwnedPartitions assigned;
  OwnedPartitions pending = current.pending_revocation;
  for (const auto& [topic, partitions] : current.assigned) {
    if (input.subscribed.contains(topic)) {
      assigned.emplace(topic, partitions);
    } else {
      pending[topic].insert(partitions.begin(), partitions.end());
    }
  }
  if (assigned.size() == current.assigned.size()) return current;
  if (still_reports(input, pending)) {
    return at_epoch(current, current.epoch, MemberState::kUnrevokedPartitions, std::move(assigned),
                    std::move(pending));
  }
  return at_epoch(current, current.epoch, current.state, std::move(assigned), current.pending_revocation);
}

MemberAssignment towards_target(const Reconciliation& input, int32_t epoch) {
  const MemberAssignment& current = input.current;
  OwnedPartitions assigned;
  OwnedPartitions revoked;
  for (const auto& [topic, partitions] : current.assigned) {
    const auto target = input.target.find(topic);
    const bool wanted = target != input.target.end() && input.subscribed.contains(topic);
    for (const auto& [partition, since] : partitions) {
      const bool keeps = wanted && target->second.contains(partition);
      (keeps ? assigned : revoked)[topic].emplace(partition, since);
    }
  }
  if (!revoked.empty() && still_reports(input, revoked)) {
    return at_epoch(current, epoch, MemberState::kUnrevokedPartitions, std::move(assigned),
                    std::move(revoked));
  }
  bool unreleased = false;
  for (const auto& [topic, partitions] : input.target) {
    if (!input.subscribed.contains(topic)) continue;
    const auto mine = current.assigned.find(topic);
    for (const int32_t partition : partitions) {
      if (mine != current.assigned.end() && mine->second.contains(partition)) continue;
      if (input.owned_by_other(topic, partition)) {
        unreleased = true;
      } else {
        assigned[topic].emplace(partition, input.target_epoch);
      }
    }
  }
  return at_epoch(current, input.target_epoch,
                  unreleased ? MemberState::kUnreleasedPartitions : MemberState::kStable, std::move(assigned),
                  {});
}

Result<MemberAssignment> next_assignment(const Reconciliation& input) {
  const MemberAssignment& current = input.current;
  switch (current.state) {
    case MemberState::kStable:
      if (current.epoch != input.target_epoch) return towards_target(input, current.epoch);
      return input.subscription_changed ? drop_unsubscribed(input) : current;
    case MemberState::kUnrevokedPartitions:
      if (!still_reports(input, current.pending_revocation)) return towards_target(input, current.epoch);
      return input.subscription_changed ? drop_unsubscribed(input) : current;
    case MemberState::kUnreleasedPartitions:
      return towards_target(input, current.epoch);
    case MemberState::kUnknown:
      break;
  }
  if (input.reported == nullptr || !input.reported->empty()) {
    return fail(ErrorCode::kFencedMemberEpoch,
                "The consumer group member is in a unknown state. The member must abandon all its partitions "
                "and rejoin.");
  }
  return towards_target(input, input.target_epoch);
}

}  // namespace

Result<std::optional<MemberAssignment>> reconcile(const Reconciliation& input) {
  auto next = next_assignment(input);
  if (!next) return std::unexpected(std::move(next.error()));
  if (*next == input.current) return std::nullopt;
  return std::move(*next);
}

}  // namespace millrace::coordinator
