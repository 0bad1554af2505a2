// How members of consumer groups come and go: by their records, by their deadlines, and by being fenced.
#include <algorithm>
#include <utility>

#include "broker/coordinator/group_coordinator.h"

namespace millrace::coordinator {
namespace {

// A member whose removal could not be written is tried again after this, then after twice as long, and so on.
constexpr int64_t kFirstRetryMs = 1'000;
constexpr int64_t kLastRetryMs = 60'000;

}  // namespace

void GroupCoordinator::apply_to_consumer_group(const GroupRecord& record, int64_t offset, int64_t now_ms) {
  const std::string& id = group_of(record);
  if (std::holds_alternative<ConsumerGroupTopicsRecord>(record)) return;
  const bool is_tombstone = std::visit(
      [](const auto& one) {
        if constexpr (requires { one.value; }) {
          return !one.value.has_value();
        } else {
          return true;
        }
      },
      record);
  Group* group = find(id);
  if (is_tombstone && (group == nullptr || group->consumer() == nullptr)) return;
  if (group == nullptr) group = &create(id, now_ms);
  const bool live = now_ms >= 0;  // else a replay: deadlines are set when all of it is read
  // The last word counts: a classic group has been upgraded. Whoever has written that has looked at the
  // topics.
  if (group->consumer() == nullptr) group->become<ConsumerGroup>().set_stale(!live);
  group->last_offset = offset;
  ConsumerGroup& consumer = *group->consumer();
  if (live) consumer.changed_ms = now_ms;
  if (const auto* epoch = std::get_if<ConsumerGroupEpochRecord>(&record)) {
    consumer.apply(epoch->value);
    if (epoch->value) return;
    group->offsets.empty() ? erase(id) : static_cast<void>(group->become<ClassicGroup>(now_ms));
  } else if (const auto* target_epoch = std::get_if<TargetEpochRecord>(&record)) {
    consumer.apply(target_epoch->value);
  } else if (const auto* metadata = std::get_if<ConsumerMemberRecord>(&record)) {
    ConsumerMember* member = consumer.apply(metadata->member, metadata->value);
    if (member != nullptr && live) start_session(*group, *member, now_ms);
  } else if (const auto* target = std::get_if<TargetMemberRecord>(&record)) {
    consumer.apply(target->member, target->value);
  } else if (const auto* current = std::get_if<CurrentAssignmentRecord>(&record)) {
    ConsumerMember* member = consumer.apply(current->member, current->value);
    if (member != nullptr && live) watch_revocation(*group, *member, now_ms);
  } else if (const auto* regex = std::get_if<RegexRecord>(&record)) {
    consumer.apply(regex->regex, regex->value);
  }
}

metadata::GroupConfig GroupCoordinator::config_of(std::string_view group) const {
  const std::optional<metadata::GroupConfig> own = configs_->find(group);
  return own.value_or(
      metadata::GroupConfig{.consumer_session_timeout_ms = settings_.consumer_session_timeout_ms,
                            .consumer_heartbeat_interval_ms = settings_.consumer_heartbeat_interval_ms});
}

void GroupCoordinator::start_session(Group& group, ConsumerMember& member, int64_t now_ms) {
  const int32_t timeout_ms = member.is_classic() ? member.metadata.classic->session_timeout_ms
                                                 : config_of(group.id).consumer_session_timeout_ms;
  member.retry_ms = 0;
  member.session.arm(deadlines_, now_ms + timeout_ms,
                     {DeadlineTarget::Kind::kConsumerSession, &group, &member});
}

// Who has to give up partitions has the rebalance timeout to do it. Classic members have other deadlines.
void GroupCoordinator::watch_revocation(Group& group, ConsumerMember& member, int64_t now_ms) {
  const bool must_revoke = member.assignment.state == MemberState::kUnrevokedPartitions &&
                           member.assignment.epoch != kStaticLeavingEpoch && !member.is_classic();
  if (!must_revoke) return member.revocation.cancel();
  member.revocation.arm(deadlines_, now_ms + std::max(member.metadata.rebalance_timeout_ms, 0),
                        {DeadlineTarget::Kind::kConsumerRevocation, &group, &member});
}

void GroupCoordinator::fire_consumer(const DeadlineTarget& due, int64_t now_ms) {
  auto& group = *static_cast<Group*>(due.group);
  auto& member = *static_cast<ConsumerMember*>(due.member);
  Deadline* timer = &member.session;
  if (due.kind == DeadlineTarget::Kind::kConsumerRevocation) timer = &member.revocation;
  if (due.kind == DeadlineTarget::Kind::kConsumerJoin) timer = &member.join;
  if (due.kind == DeadlineTarget::Kind::kConsumerSync) timer = &member.sync;
  member.retry_ms = std::clamp(2 * member.retry_ms, kFirstRetryMs, kLastRetryMs);
  timer->arm(deadlines_, now_ms + member.retry_ms, due);
  fence(group, {&member}, {}, now_ms);
}

void GroupCoordinator::fence(Group& group, const std::vector<const ConsumerMember*>& members,
                             Continuation then, int64_t now_ms) {
  ConsumerGroup& consumer = *group.consumer();
  if (can_downgrade(consumer, members, consumer.members().size() - members.size())) {
    GroupDowngraded downgrade{
        .group = group.id, .leaving = {}, .members = {}, .rebalance = true, .answer = {}};
    for (const ConsumerMember* member : members) downgrade.leaving.push_back(member->id);
    if (auto* answer = std::get_if<SendAnswer>(&then)) downgrade.answer = std::move(*answer);
    return this->downgrade(group, members, std::nullopt, std::move(downgrade), now_ms);
  }
  ConsumerGroupChange change(group.id, consumer, *topics_, settings_, now_ms);
  change.remove(members);
  consumer.set_stale(false);
  write(change.take_records(), true, std::move(then));
}

// What the group would be as a classic one doesn't fit into one record: its members go all the same, and
// those that are left stay in a consumer group. Whether that is possible.
bool GroupCoordinator::stay_consumer_group(GroupDowngraded& failed, int64_t now_ms) {
  Group* group = find(failed.group);
  ConsumerGroup* consumer = group == nullptr ? nullptr : group->consumer();
  if (consumer == nullptr || failed.leaving.empty()) return false;
  std::vector<const ConsumerMember*> members;
  for (const std::string& id : failed.leaving) {
    const ConsumerMember* member = consumer->find(id);
    if (member == nullptr) return false;
    members.push_back(member);
  }
  ConsumerGroupChange change(group->id, *consumer, *topics_, settings_, now_ms);
  change.remove(members);
  consumer->set_stale(false);
  Continuation then;
  if (failed.answer) then = std::move(*failed.answer);
  write(change.take_records(), true, std::move(then));
  return true;
}

void GroupCoordinator::topics_changed(TopicDirectoryPtr topics,
                                      const std::optional<std::vector<std::string_view>>& changed) {
  topics_ = std::move(topics);
  for (const auto& [id, group] : groups_) {
    ConsumerGroup* consumer = group->consumer();
    if (consumer == nullptr) continue;
    consumer->regexes_stale = true;
    if (changed && consumer->regexes().empty() &&
        std::ranges::none_of(*changed, [&](std::string_view topic) { return consumer->subscribes(topic); })) {
      continue;
    }
    consumer->topics_stale = true;
  }
}

}  // namespace millrace::coordinator
