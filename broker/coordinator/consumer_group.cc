#include "broker/coordinator/consumer_group.h"

#include <algorithm>
#include <utility>

#include "broker/coordinator/group_memory.h"

namespace millrace::coordinator {

int64_t bytes_of(std::string_view id, const MemberMetadata& metadata) {
  size_t bytes = sizeof(ConsumerMember) + kNodeBytes + 2 * text_bytes(id) + text_bytes(metadata.client_id) +
                 text_bytes(metadata.client_host) + text_bytes(metadata.regex) +
                 text_bytes(metadata.rack_id.value_or("")) + names_bytes(metadata.topics);
  if (metadata.instance_id) bytes += kNodeBytes + 2 * text_bytes(*metadata.instance_id) + text_bytes(id);
  if (!metadata.regex.empty()) bytes += kNodeBytes + text_bytes(metadata.regex);
  if (!metadata.classic) return static_cast<int64_t>(bytes);
  for (const ClassicMembership::Protocol& protocol : metadata.classic->protocols)
    bytes += sizeof(protocol) + text_bytes(protocol.name) + protocol.metadata.size();
  return static_cast<int64_t>(bytes);
}

int64_t bytes_of(const ConsumerMember& member) {
  // In the member's own map and in the group's owners; in its target.
  constexpr size_t kOwned = 2 * kNodeBytes + sizeof(std::pair<const int32_t, int32_t>) +
                            sizeof(std::pair<const int32_t, const ConsumerMember*>);
  constexpr size_t kWanted = kNodeBytes;
  size_t bytes = 0;
  for (const OwnedPartitions* owned : {&member.assignment.assigned, &member.assignment.pending_revocation}) {
    for (const auto& [topic, partitions] : *owned)
      bytes += 2 * (kNodeBytes + sizeof(OwnedPartitions::value_type)) + kOwned * partitions.size();
  }
  for (const auto& [topic, partitions] : member.target)
    bytes += kNodeBytes + sizeof(Assignment::value_type) + kWanted * partitions.size();
  return bytes_of(member.id, member.metadata) + static_cast<int64_t>(bytes);
}

int64_t bytes_of(std::string_view regex, const ResolvedRegex& resolved) {
  return static_cast<int64_t>(kNodeBytes + sizeof(ConsumerGroup::Regexes::value_type) + text_bytes(regex) +
                              names_bytes(resolved.topics));
}

ConsumerMember* ConsumerGroup::find(std::string_view id) const {
  const auto found = members_.find(id);
  return found == members_.end() ? nullptr : found->second.get();
}

ConsumerMember* ConsumerGroup::find_static(std::string_view instance) const {
  const auto found = static_members_.find(instance);
  return found == static_members_.end() ? nullptr : find(found->second);
}

const ConsumerMember* ConsumerGroup::owner(const Uuid& topic, int32_t partition) const {
  const auto partitions = owners_.find(topic);
  if (partitions == owners_.end()) return nullptr;
  const auto found = partitions->second.find(partition);
  return found == partitions->second.end() ? nullptr : found->second;
}

std::string_view ConsumerGroup::state_name() const {
  if (members_.empty()) return "Empty";
  if (epoch_ > target_epoch_) return "Assigning";
  const bool stable = std::ranges::all_of(
      members_, [&](const auto& entry) { return entry.second->has_reached(target_epoch_); });
  return stable ? "Stable" : "Reconciling";
}

bool ConsumerGroup::subscribes(std::string_view topic) const {
  const auto matches = [&](const auto& entry) { return entry.second.topics.contains(topic); };
  return std::ranges::any_of(regexes_, matches) || std::ranges::any_of(members_, [&](const auto& entry) {
           return entry.second->metadata.topics.contains(topic);
         });
}

bool ConsumerGroup::uses_regex(std::string_view regex) const {
  return std::ranges::any_of(members_,
                             [&](const auto& entry) { return entry.second->metadata.regex == regex; });
}

bool ConsumerGroup::waits_for_partitions(const ConsumerMember& member) const {
  for (const auto& [topic, partitions] : member.target) {
    for (const int32_t partition : partitions) {
      const ConsumerMember* current = owner(topic, partition);
      if (current != nullptr && current != &member) return true;
    }
  }
  return false;
}

bool ConsumerGroup::supports(const std::set<std::string_view>& protocols) const {
  const auto known_to = [](const ConsumerMember& member, std::string_view name) {
    return !member.is_classic() ||
           std::ranges::find(member.metadata.classic->protocols, name, &ClassicMembership::Protocol::name) !=
               member.metadata.classic->protocols.end();
  };
  return std::ranges::any_of(protocols, [&](std::string_view name) {
    return std::ranges::all_of(members_, [&](const auto& entry) { return known_to(*entry.second, name); });
  });
}

ConsumerMember& ConsumerGroup::find_or_add(std::string_view id) {
  auto found = members_.find(id);
  if (found == members_.end()) {
    auto member = std::make_unique<ConsumerMember>();
    member->id = std::string(id);
    found = members_.emplace(member->id, std::move(member)).first;
    count(*found->second);
  }
  return *found->second;
}

void ConsumerGroup::count(ConsumerMember& member) {
  member.held.join(held);
  member.held.set(bytes_of(member));
}

void ConsumerGroup::disown(const ConsumerMember& member) {
  for (const OwnedPartitions* owned : {&member.assignment.assigned, &member.assignment.pending_revocation}) {
    for (const auto& [topic, partitions] : *owned) {
      const auto found = owners_.find(topic);
      if (found == owners_.end()) continue;
      for (const auto& [partition, since] : partitions) {
        const auto current = found->second.find(partition);
        if (current != found->second.end() && current->second == &member) found->second.erase(current);
      }
      if (found->second.empty()) owners_.erase(found);
    }
  }
}

void ConsumerGroup::apply(const std::optional<ConsumerGroupEpochRecord::Value>& value) {
  const auto now = value.value_or(ConsumerGroupEpochRecord::Value{});
  epoch_ = now.epoch;
  metadata_hash_ = now.metadata_hash;
}

void ConsumerGroup::apply(const std::optional<TargetEpochRecord::Value>& value) {
  target_epoch_ = value ? value->epoch : 0;
}

ConsumerMember* ConsumerGroup::apply(std::string_view id, const std::optional<MemberMetadata>& value) {
  if (!value) {
    const auto found = members_.find(id);
    if (found == members_.end()) return nullptr;
    const auto& instance = found->second->metadata.instance_id;
    const auto known = instance ? static_members_.find(*instance) : static_members_.end();
    if (known != static_members_.end() && known->second == id) static_members_.erase(known);
    disown(*found->second);
    members_.erase(found);
    return nullptr;
  }
  ConsumerMember& member = find_or_add(id);
  const auto former = member.metadata.instance_id;
  if (former && former != value->instance_id) static_members_.erase(*former);
  if (value->instance_id) static_members_[*value->instance_id] = member.id;
  member.metadata = *value;
  count(member);
  member.is_described = true;
  return &member;
}

void ConsumerGroup::apply(std::string_view id, const std::optional<Assignment>& value) {
  ConsumerMember* member = value ? &find_or_add(id) : find(id);
  if (member == nullptr) return;
  member->target = value.value_or(Assignment{});
  count(*member);
}

ConsumerMember* ConsumerGroup::apply(std::string_view id, const std::optional<MemberAssignment>& value) {
  ConsumerMember* member = value ? &find_or_add(id) : find(id);
  if (member == nullptr) return nullptr;
  disown(*member);
  member->assignment = value.value_or(MemberAssignment{});
  for (const OwnedPartitions* owned :
       {&member->assignment.assigned, &member->assignment.pending_revocation}) {
    for (const auto& [topic, partitions] : *owned) {
      auto& owners = owners_[topic];
      for (const auto& [partition, since] : partitions) owners[partition] = member;
    }
  }
  count(*member);
  return member;
}

void ConsumerGroup::apply(std::string_view regex, const std::optional<ResolvedRegex>& value) {
  regexes_held_.join(held);
  if (const auto found = regexes_.find(regex); found != regexes_.end()) {
    regexes_held_.set(regexes_held_.bytes() - bytes_of(found->first, found->second));
    regexes_.erase(found);
  }
  if (!value) return;
  regexes_held_.set(regexes_held_.bytes() + bytes_of(regex, *value));
  regexes_.emplace(regex, *value);
}

void ConsumerGroup::drop_undescribed() {
  std::erase_if(members_, [&](const auto& entry) {
    if (entry.second->is_described) return false;
    disown(*entry.second);
    return true;
  });
}

}  // namespace millrace::coordinator
