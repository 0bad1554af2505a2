// ListGroups v0-5, DescribeGroups v0-6, DeleteGroups v0-2, ConsumerGroupDescribe v0-1.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "broker/coordinator/group_coordinator.h"

namespace millrace::coordinator {
namespace {

constexpr std::string_view kClassicType = "classic";
constexpr std::string_view kConsumerType = "consumer";

bool same_word(std::string_view left, std::string_view right) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::ranges::equal(left, right, {}, lower, lower);
}

bool wanted(const std::vector<std::string_view>& filter, std::string_view value) {
  return filter.empty() ||
         std::ranges::any_of(filter, [&](std::string_view one) { return same_word(one, value); });
}

}  // namespace

void GroupCoordinator::handle_request(uint64_t ticket, const ListGroups& request, int64_t) {
  ListGroupsResult result;
  for (const auto& [id, group] : groups_) {
    const ConsumerGroup* consumer = group->consumer();
    const ClassicGroup* classic = group->classic();
    const std::string_view type = consumer != nullptr ? kConsumerType : kClassicType;
    const std::string_view state = consumer != nullptr ? consumer->state_name() : state_name(classic->state);
    if (!wanted(request.types, type) || !wanted(request.states, state)) continue;
    result.groups.push_back({id,
                             consumer != nullptr ? std::string(ConsumerGroup::kProtocolType)
                                                 : classic->protocol_type.value_or(""),
                             std::string(state), std::string(type)});
  }
  answer(ticket, std::move(result));
}

void GroupCoordinator::handle_request(uint64_t ticket, const DescribeGroup& request, int64_t) {
  DescribeGroupResult result;
  const Group* group = find(request.group);
  if (group == nullptr || group->consumer() != nullptr) {
    result.error = ErrorCode::kGroupIdNotFound;
    result.message =
        fmt::format("Group {} {}.", request.group, group == nullptr ? "not found" : "is not a classic group");
    result.state = "Dead";
    return answer(ticket, std::move(result));
  }
  const auto& classic = std::get<ClassicGroup>(group->kind);
  const bool stable = classic.state == GroupState::kStable;
  result.state = std::string(state_name(classic.state));
  result.protocol_type = classic.protocol_type.value_or("");
  if (stable) result.protocol = classic.protocol.value_or("");
  for (const auto& [id, member] : classic.members()) {
    auto& out = result.members.emplace_back(DescribeGroupResult::Member{
        id, member->instance, member->client_id, member->client_host, {}, member->assignment});
    if (!stable) continue;
    const Bytes metadata = member->metadata(result.protocol);
    out.metadata.assign(metadata.begin(), metadata.end());
  }
  answer(ticket, std::move(result));
}

void GroupCoordinator::handle_request(uint64_t ticket, const DeleteGroup& request, int64_t) {
  const Group* group = find(request.group);
  if (group == nullptr) return answer(ticket, DeleteGroupResult{ErrorCode::kGroupIdNotFound});
  const ConsumerGroup* consumer = group->consumer();
  const bool empty = consumer != nullptr ? consumer->members().empty()
                                         : std::get<ClassicGroup>(group->kind).state == GroupState::kEmpty;
  if (!empty) return answer(ticket, DeleteGroupResult{ErrorCode::kNonEmptyGroup});
  std::vector<GroupRecord> records;
  group->offsets.for_each([&](std::string_view topic, int32_t partition, const CommittedOffset&) {
    records.push_back(OffsetCommitRecord{group->id, std::string(topic), partition, std::nullopt});
  });
  erase_group(*group, records);
  write_removals(std::move(records), SendAnswer{ticket, DeleteGroupResult{}});
}

void GroupCoordinator::erase_group(const Group& group, std::vector<GroupRecord>& records) {
  if (const ConsumerGroup* consumer = group.consumer())
    return ConsumerGroupChange::erase_group(group.id, *consumer, records);
  records.push_back(GroupMetadataRecord{group.id, std::nullopt});
}

void GroupCoordinator::handle_request(uint64_t ticket, const DescribeConsumerGroup& request, int64_t) {
  const Group* group = find(request.group);
  const ConsumerGroup* consumer = group == nullptr ? nullptr : group->consumer();
  DescribeConsumerGroupResult result;
  if (consumer == nullptr) {
    result.error = {ErrorCode::kGroupIdNotFound,
                    fmt::format("Group {} {}.", request.group,
                                group == nullptr ? "not found" : "is not a consumer group")};
    return answer(ticket, std::move(result));
  }
  result.state = std::string(consumer->state_name());
  result.epoch = consumer->epoch();
  result.target_epoch = consumer->target_epoch();
  result.assignor = std::string(preferred_assignor(*consumer));
  for (const auto& [id, member] : consumer->members()) result.members.push_back(described(*member));
  answer_when_stored(group, ticket, std::move(result));
}

std::string_view GroupCoordinator::preferred_assignor(const ConsumerGroup& group) const {
  std::vector<const MemberMetadata*> members;
  for (const auto& [id, member] : group.members()) members.push_back(&member->metadata);
  return ConsumerGroupChange::preferred_assignor(members, settings_);
}

DescribeConsumerGroupResult::Member GroupCoordinator::described(const ConsumerMember& member) const {
  const MemberMetadata& metadata = member.metadata;
  DescribeConsumerGroupResult::Member out;
  out.member = member.id;
  out.instance = metadata.instance_id;
  out.rack = metadata.rack_id;
  out.epoch = member.assignment.epoch;
  out.client_id = metadata.client_id;
  out.client_host = metadata.client_host;
  out.topics.assign(metadata.topics.begin(), metadata.topics.end());
  out.regex = metadata.regex;
  out.is_classic = member.is_classic();
  const auto add = [&](std::vector<DescribeConsumerGroupResult::Topic>& topics, const Uuid& id) {
    const auto topic = topics_->find(id);
    if (!topic) return static_cast<std::vector<int32_t>*>(nullptr);  // deleted: of no interest any more
    return &topics.emplace_back(DescribeConsumerGroupResult::Topic{id, std::string(topic->name), {}})
                .partitions;
  };
  for (const auto& [id, partitions] : member.assignment.assigned) {
    auto* numbers = add(out.assigned, id);
    if (numbers == nullptr) continue;
    for (const auto& [number, since] : partitions) numbers->push_back(number);
  }
  for (const auto& [id, partitions] : member.target) {
    auto* numbers = add(out.target, id);
    if (numbers != nullptr) numbers->assign(partitions.begin(), partitions.end());
  }
  return out;
}

}  // namespace millrace::coordinator
