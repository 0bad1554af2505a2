// ListGroups v0-5, DescribeGroups v0-6, DeleteGroups v0-2.
#include <algorithm>
#include <utility>

#include "broker/coordinator/group_coordinator.h"

namespace millrace::coordinator {
namespace {

constexpr std::string_view kClassicType = "classic";

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
    const auto& classic = std::get<ClassicGroup>(group->kind);
    const std::string_view state = state_name(classic.state);
    if (!wanted(request.types, kClassicType) || !wanted(request.states, state)) continue;
    result.groups.push_back(
        {id, classic.protocol_type.value_or(""), std::string(state), std::string(kClassicType)});
  }
  answer(ticket, std::move(result));
}

void GroupCoordinator::handle_request(uint64_t ticket, const DescribeGroup& request, int64_t) {
  DescribeGroupResult result;
  const Group* group = find(request.group);
  if (group == nullptr) {
    result.error = ErrorCode::kGroupIdNotFound;
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
  if (std::get<ClassicGroup>(group->kind).state != GroupState::kEmpty) {
    return answer(ticket, DeleteGroupResult{ErrorCode::kNonEmptyGroup});
  }
  std::vector<GroupRecord> records;
  for (const auto& [topic, partitions] : group->offsets.topics()) {
    for (const auto& [partition, offset] : partitions) {
      records.push_back(OffsetCommitRecord{group->id, topic, partition, std::nullopt});
    }
  }
  records.push_back(GroupMetadataRecord{group->id, std::nullopt});
  write_removals(std::move(records), SendAnswer{ticket, DeleteGroupResult{}});
}

}  // namespace millrace::coordinator
