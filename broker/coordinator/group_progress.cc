#include "broker/coordinator/group_progress.h"

#include "broker/coordinator/group_coordinator.h"

namespace millrace::coordinator {

std::vector<std::string> GroupCoordinator::group_names() const {
  std::vector<std::string> names;
  names.reserve(groups_.size());
  for (const auto& [id, group] : groups_) names.push_back(id);
  return names;
}

std::optional<GroupProgress> GroupCoordinator::progress(std::string_view id) const {
  const auto found = groups_.find(id);
  if (found == groups_.end()) return std::nullopt;
  const Group& group = *found->second;
  GroupProgress progress;
  progress.name = group.id;
  if (const ConsumerGroup* consumer = group.consumer()) {
    progress.type = progress.protocol_type = ConsumerGroup::kProtocolType;
    progress.state = consumer->state_name();
    progress.members = consumer->members().size();
    for (const auto& [member_id, member] : consumer->members())
      progress.subscribed.insert(member->metadata.topics.begin(), member->metadata.topics.end());
    for (const auto& [regex, resolved] : consumer->regexes())
      progress.subscribed.insert(resolved.topics.begin(), resolved.topics.end());
  } else if (const ClassicGroup* classic = group.classic()) {
    progress.type = "classic";
    progress.protocol_type = classic->protocol_type.value_or("");
    progress.state = state_name(classic->state);
    progress.members = classic->members().size();
    progress.subscription_unknown =
        progress.members > 0 && classic->uses_consumer_protocol() && !classic->knows_subscription();
    if (const auto& subscribed = classic->subscription())
      progress.subscribed.insert(subscribed->begin(), subscribed->end());
  }
  FormerTopics former(*topics_);
  group.offsets.for_each([&](std::string_view name, int32_t partition, const CommittedOffset& committed) {
    if (former.had(name, committed.topic_id)) return;
    if (progress.topics.empty() || progress.topics.back().name != name)
      progress.topics.emplace_back().name = name;
    progress.topics.back().offsets.emplace_back(partition, committed.offset);
  });
  return progress;
}

}  // namespace millrace::coordinator
