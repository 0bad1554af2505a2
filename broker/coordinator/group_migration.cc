// How a live group changes its protocol: to the consumer protocol when the first member joins by it, back to
// the classic one when the last such member has gone (KIP-848, group.consumer.migration.policy).
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "broker/coordinator/consumer_subscription.h"
#include "broker/coordinator/group_coordinator.h"

namespace millrace::coordinator {
namespace {

bool allows_upgrade(MigrationPolicy policy) {
  return policy == MigrationPolicy::kUpgrade || policy == MigrationPolicy::kBidirectional;
}
bool allows_downgrade(MigrationPolicy policy) {
  return policy == MigrationPolicy::kDowngrade || policy == MigrationPolicy::kBidirectional;
}

struct Converted {
  MemberMetadata metadata;
  MemberAssignment assignment;
};

// Nothing if the member doesn't follow the consumer protocol's formats.
std::optional<Converted> convert(const ClassicMember& member, const ClassicGroup& group,
                                 const TopicDirectory& topics) {
  if (member.protocols.empty()) return std::nullopt;
  const bool has_protocol = group.protocol && !member.metadata(*group.protocol).empty();
  const auto subscription = read_subscription(has_protocol ? member.metadata(*group.protocol)
                                                           : Bytes(member.protocols.front().metadata));
  const auto assigned = read_assignment(member.assignment);
  if (!subscription || !assigned) return std::nullopt;
  Converted out;
  out.metadata.instance_id = member.instance;
  if (subscription->rack) out.metadata.rack_id = std::string(*subscription->rack);
  out.metadata.client_id = member.client_id;
  out.metadata.client_host = member.client_host;
  out.metadata.topics = {subscription->topics.begin(), subscription->topics.end()};
  out.metadata.rebalance_timeout_ms = member.rebalance_timeout_ms;
  out.metadata.classic = ClassicMembership{member.session_timeout_ms, member.protocols};
  out.assignment.epoch = out.assignment.previous_epoch = group.generation;
  for (const NamedPartitions& named : assigned->partitions) {
    const auto topic = topics.find(named.topic);
    if (!topic) continue;
    for (const int32_t partition : named.partitions)
      out.assignment.assigned[topic->id][partition] = group.generation;
  }
  return out;
}

Assignment target_of(const MemberAssignment& assignment) {
  Assignment target;
  for (const auto& [topic, partitions] : assignment.assigned) {
    for (const auto& [partition, since] : partitions) target[topic].insert(partition);
  }
  return target;
}

}  // namespace

Result<GroupCoordinator::Joined> GroupCoordinator::upgrade(std::string_view id, const ClassicGroup& group,
                                                           int64_t now_ms) const {
  const auto refuse = [&](std::string_view why) {
    return fail(ErrorCode::kGroupIdNotFound,
                fmt::format("Cannot upgrade classic group {} to consumer group because {}.", id, why));
  };
  if (!allows_upgrade(settings_.consumer_migration_policy)) return refuse("online upgrade is disabled");
  if (!group.uses_consumer_protocol()) return refuse("the group does not use the consumer embedded protocol");
  if (group.members().size() > static_cast<size_t>(std::max(settings_.consumer_max_size, 0)))
    return refuse("the group size exceeds the consumer group maximum size");
  const std::string name(id);
  Joined joined;
  joined.made = std::make_unique<ConsumerGroup>();
  joined.group = joined.made.get();
  std::vector<GroupRecord> members;
  std::vector<GroupRecord> targets;
  std::vector<GroupRecord> assignments;
  const ConsumerGroupEpochRecord::Value epoch{group.generation, 0};
  const TargetEpochRecord::Value target_epoch{group.generation, now_ms};
  joined.made->apply(epoch);
  joined.made->apply(target_epoch);
  for (const auto& [member_id, member] : group.members()) {
    const auto from = convert(*member, group, *topics_);
    if (!from) return refuse("the embedded consumer protocol is malformed");
    const Assignment target = target_of(from->assignment);
    joined.made->apply(member_id, from->metadata);
    joined.made->apply(member_id, target);
    joined.made->apply(member_id, from->assignment);
    members.push_back(ConsumerMemberRecord{name, member_id, from->metadata});
    targets.push_back(TargetMemberRecord{name, member_id, target});
    assignments.push_back(CurrentAssignmentRecord{name, member_id, from->assignment});
  }
  auto& records = joined.records;
  const auto append = [&](std::vector<GroupRecord>& more) {
    std::ranges::move(more, std::back_inserter(records));
  };
  records.push_back(GroupMetadataRecord{name, std::nullopt});
  append(members);
  records.push_back(ConsumerGroupEpochRecord{name, epoch});
  append(targets);
  records.push_back(TargetEpochRecord{name, target_epoch});
  append(assignments);
  return joined;
}

// Whoever waits for a rebalance of a classic group that ends with this write takes part in the next one,
// whatever the group is then. Before the write is applied, and not before it is appended: if it can't be, the
// rebalance goes on.
void GroupCoordinator::ask_to_rejoin(const Write& upgrade, int64_t end_offset) {
  const auto* ended = std::get_if<GroupMetadataRecord>(&upgrade.records.front());
  if (!upgrade.apply || ended == nullptr || ended->value) return;
  Group* group = find(ended->group);
  ClassicGroup* classic = group == nullptr ? nullptr : group->classic();
  if (classic == nullptr) return;
  const auto answer_later = [&](uint64_t ticket, GroupResponse response) {
    uncommitted_.emplace(end_offset - 1, SendAnswer{ticket, std::move(response)});
  };
  for (const auto& [id, member] : classic->members()) {
    if (const auto ticket = member->join_ticket) {
      classic->set_join_ticket(*member, std::nullopt);
      answer_later(*ticket, JoinGroupResult{.error = ErrorCode::kRebalanceInProgress, .member = id});
    }
    if (const auto ticket = std::exchange(member->sync_ticket, std::nullopt))
      answer_later(*ticket, SyncGroupResult{.error = ErrorCode::kRebalanceInProgress});
  }
}

bool GroupCoordinator::can_downgrade(const ConsumerGroup& group,
                                     const std::vector<const ConsumerMember*>& without,
                                     size_t remaining) const {
  if (!allows_downgrade(settings_.consumer_migration_policy) || remaining == 0 ||
      remaining > static_cast<size_t>(std::max(settings_.max_size, 0))) {
    return false;
  }
  return std::ranges::all_of(group.members(), [&](const auto& entry) {
    return entry.second->is_classic() || std::ranges::find(without, entry.second.get()) != without.end();
  });
}

void GroupCoordinator::downgrade(Group& group, const std::vector<const ConsumerMember*>& without,
                                 const std::optional<Replacement>& replacement, GroupDowngraded then,
                                 int64_t now_ms) {
  const ConsumerGroup& consumer = *group.consumer();
  StoredGroup stored;
  stored.protocol_type = std::string(ConsumerGroup::kProtocolType);
  stored.generation = consumer.epoch();
  stored.state_timestamp_ms = now_ms;
  const auto add = [&](const std::string& id, const MemberMetadata& metadata,
                       const MemberAssignment& assignment) {
    const auto version = read_subscription(metadata.classic->protocols.front().metadata);
    std::map<std::string, std::vector<int32_t>> partitions;
    for (const auto& [topic_id, owned] : assignment.assigned) {
      const auto topic = topics_->find(topic_id);
      if (!topic) continue;
      for (const auto& [number, since] : owned) partitions[std::string(topic->name)].push_back(number);
    }
    stored.members.push_back({id,
                              metadata.instance_id,
                              metadata.client_id,
                              metadata.client_host,
                              metadata.rebalance_timeout_ms,
                              metadata.classic->session_timeout_ms,
                              {},
                              write_assignment(version ? version->version : int16_t{0}, partitions)});
    then.members.emplace(id, *metadata.classic);
  };
  for (const auto& [id, member] : consumer.members()) {
    if (std::ranges::find(without, member.get()) == without.end())
      add(id, member->metadata, member->assignment);
  }
  if (replacement) add(replacement->id, replacement->metadata, replacement->assignment);
  // All of them know one protocol at least: that was the condition for their coming in.
  for (const auto& protocol : then.members.begin()->second.protocols) {
    const bool common = std::ranges::all_of(then.members, [&](const auto& entry) {
      const auto& protocols = entry.second.protocols;
      return std::ranges::find(protocols, protocol.name, &ClassicMembership::Protocol::name) !=
             protocols.end();
    });
    if (!common) continue;
    stored.protocol = protocol.name;
    break;
  }
  for (StoredMember& member : stored.members) {
    for (const auto& protocol : then.members.at(member.member_id).protocols) {
      if (protocol.name == stored.protocol) member.subscription = protocol.metadata;
    }
  }
  std::vector<GroupRecord> records;
  ConsumerGroupChange::erase_group(group.id, consumer, records);
  records.push_back(GroupMetadataRecord{group.id, std::move(stored)});
  write(std::move(records), true, std::move(then));
}

void GroupCoordinator::downgraded(GroupDowngraded& then, int64_t now_ms) {
  Group& group = *find(then.group);
  auto& classic = std::get<ClassicGroup>(group.kind);
  for (auto& [id, membership] : then.members) {
    ClassicMember* member = classic.find(id);
    if (member == nullptr) continue;
    classic.update(*member, std::move(membership.protocols), member->rebalance_timeout_ms,
                   membership.session_timeout_ms);
    start_session(group, *member, member->session_timeout_ms, now_ms);
  }
  if (then.rebalance) prepare_rebalance(group, now_ms);
}

}  // namespace millrace::coordinator
