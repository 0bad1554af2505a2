#include "broker/coordinator/consumer_group_change.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "broker/coordinator/assignor.h"
#include "broker/coordinator/reconciliation.h"
#include "broker/coordinator/topic_regex.h"

namespace millrace::coordinator {
namespace {

// All are matched anew when topics change.
constexpr size_t kMaxRegexes = 100;

// FNV-1a. Kafka's hash of the topics is another one: a coordinator of Kafka's that took over the group would
// find its topics changed, once.
class Hash {
 public:
  void add(std::string_view text) {
    for (const char c : text) add_byte(static_cast<uint8_t>(c));
    add_byte(0xFF);
  }
  void add(const Uuid& id) {
    for (const std::byte byte : id.bytes) add_byte(std::to_integer<uint8_t>(byte));
  }
  void add(int32_t number) {
    for (int shift = 0; shift < 32; shift += 8)
      add_byte(static_cast<uint8_t>(static_cast<uint32_t>(number) >> shift));
  }
  int64_t value() const { return static_cast<int64_t>(value_); }

 private:
  void add_byte(uint8_t byte) { value_ = (value_ ^ byte) * 0x100000001B3ULL; }
  uint64_t value_ = 0xCBF29CE484222325ULL;
};

// Of the names and the expression that a member is subscribed to: finds those with the same, of which there
// may be many with long lists, without copying or comparing these. A member that makes up names for a
// collision gets a wrong assignment in its own group.
uint64_t subscription_hash(const MemberMetadata& metadata) {
  constexpr uint64_t kOddNumber = 0x9E3779B97F4A7C15;
  uint64_t hash = metadata.topics.size();
  const auto add = [&](std::string_view text) {
    hash = (hash ^ std::hash<std::string_view>()(text)) * kOddNumber;
    hash ^= hash >> 29;
  };
  for (const std::string& name : metadata.topics) add(name);
  add(metadata.regex);
  return hash;
}

// The same set of partitions, since whatever epoch.
bool same_partitions(const OwnedPartitions& left, const OwnedPartitions& right) {
  return std::ranges::equal(left, right, [](const auto& one, const auto& other) {
    return one.first == other.first &&
           std::ranges::equal(
               one.second, other.second, {}, [](const auto& p) { return p.first; },
               [](const auto& p) { return p.first; });
  });
}

}  // namespace

void ConsumerGroupChange::subscribe(std::string member) { member_ = std::move(member); }

void ConsumerGroupChange::rejoin(const ConsumerMember& member) {
  member_ = member.id;
  metadata_ = member.metadata;
  assignment_ = member.assignment;
  target_ = member.target;
}

void ConsumerGroupChange::take_over(const ConsumerMember& former, std::string member) {
  rejoin(former);
  former_ = &former;
  member_ = std::move(member);
  assignment_.epoch = kJoiningEpoch;
  assignment_.previous_epoch = kJoiningEpoch;
  forget_member(former);
  records_.push_back(ConsumerMemberRecord{id_, member_, metadata_});
  records_.push_back(TargetMemberRecord{id_, member_, target_});
  records_.push_back(CurrentAssignmentRecord{id_, member_, assignment_});
}

void ConsumerGroupChange::forget_member(const ConsumerMember& member) {
  removed_.insert(member.id);
  records_.push_back(CurrentAssignmentRecord{id_, member.id, std::nullopt});
  records_.push_back(TargetMemberRecord{id_, member.id, std::nullopt});
  records_.push_back(ConsumerMemberRecord{id_, member.id, std::nullopt});
}

// Whether the member is the only one with its expression so far, which goes if it takes another one.
bool ConsumerGroupChange::frees_regex() const {
  return !metadata_.regex.empty() && std::ranges::none_of(group_.members(), [&](const auto& entry) {
    const ConsumerMember* other = entry.second.get();
    return other->id != member_ && other != former_ && other->metadata.regex == metadata_.regex;
  });
}

Result<> ConsumerGroupChange::update(MemberMetadata metadata) {
  if (metadata.regex != metadata_.regex) {
    regex_changed_ = true;
    if (!metadata.regex.empty() && !group_.uses_regex(metadata.regex)) {
      if (group_.regexes().size() >= kMaxRegexes && !frees_regex()) {
        return fail(
            ErrorCode::kInvalidRegularExpression,
            fmt::format("The members of group {} are subscribed by {} different regular expressions, and "
                        "there may be no more: use one that others use, or subscribe to topics by their "
                        "names.",
                        id_, group_.regexes().size()));
      }
      auto topics = matching_topics(metadata.regex, topics_);
      if (!topics) return std::unexpected(std::move(topics.error()));
      regexes_[metadata.regex] = ResolvedRegex{std::move(*topics), topics_.version(), now_ms_};
    }
  }
  names_changed_ = metadata.topics != metadata_.topics;
  const ConsumerMember* known = group_.find(member_);
  const bool is_new = known == nullptr && former_ == nullptr;
  if (is_new || metadata != metadata_) records_.push_back(ConsumerMemberRecord{id_, member_, metadata});
  metadata_ = std::move(metadata);
  return {};
}

Result<> ConsumerGroupChange::advance(const Assignment* reported) {
  bool bump = group_.epoch() == 0 || names_changed_ || regex_changed_;
  bump |= refresh_regexes();
  if (bump || group_.topics_stale) check_topics(bump);
  const int32_t epoch = new_epoch_.value_or(group_.epoch());
  if (epoch > group_.target_epoch()) retarget(epoch);
  const int32_t target_epoch = std::max(epoch, group_.target_epoch());
  const std::set<Uuid> subscribed = subscribed_topics(metadata_);
  const Reconciliation input{
      .current = assignment_,
      .target_epoch = target_epoch,
      .target = target_,
      .subscribed = subscribed,
      .subscription_changed = subscription_changed(),
      .reported = reported,
      .owned_by_other =
          [this](const Uuid& topic, int32_t partition) {
            const ConsumerMember* owner = group_.owner(topic, partition);
            return owner != nullptr && owner != former_ && owner->id != member_;
          },
  };
  auto next = reconcile(input);
  if (!next) return std::unexpected(std::move(next.error()));
  if (!*next) return {};
  assigned_changed_ = !same_partitions((*next)->assigned, assignment_.assigned);
  assignment_ = std::move(**next);
  records_.push_back(CurrentAssignmentRecord{id_, member_, assignment_});
  return {};
}

void ConsumerGroupChange::remove(const std::vector<const ConsumerMember*>& members) {
  for (const ConsumerMember* member : members) forget_member(*member);
  refresh_regexes();
  check_topics(true);
}

bool ConsumerGroupChange::topics_differ() {
  return refresh_regexes() || hash_topics() != group_.metadata_hash();
}

// Drops expressions that nobody uses any more and resolves the others anew if topics have come or gone.
// Returns whether anything changed.
bool ConsumerGroupChange::refresh_regexes() {
  if (group_.regexes().empty() && regexes_.empty() && metadata_.regex.empty()) return false;
  std::set<std::string_view> used;
  for (const Subscriber& one : subscribers()) {
    if (!one.metadata->regex.empty()) used.insert(one.metadata->regex);
  }
  for (const auto& [regex, known] : group_.regexes()) {
    if (!used.contains(regex)) regexes_[regex] = std::nullopt;
  }
  for (const std::string_view regex : used) {
    const ResolvedRegex* known = resolved(regex);
    if (known != nullptr && (!group_.regexes_stale || regexes_.contains(regex))) continue;
    // One that Kafka's RE2 took and ours doesn't matches nothing.
    auto topics = matching_topics(regex, topics_).value_or(std::set<std::string, std::less<>>());
    if (known != nullptr && known->topics == topics) continue;
    regexes_[std::string(regex)] = ResolvedRegex{std::move(topics), topics_.version(), now_ms_};
  }
  for (const auto& [regex, value] : regexes_) records_.push_back(RegexRecord{id_, regex, value});
  return !regexes_.empty();
}

// Gives the group a new epoch if it has to have one, or if the subscribed topics are not what they were.
void ConsumerGroupChange::check_topics(bool bump) {
  const int64_t hash = hash_topics();
  if (!bump && hash == group_.metadata_hash()) return;
  new_epoch_ = group_.epoch() + 1;
  records_.push_back(ConsumerGroupEpochRecord{id_, ConsumerGroupEpochRecord::Value{*new_epoch_, hash}});
}

std::vector<ConsumerGroupChange::Subscriber> ConsumerGroupChange::subscribers() const {
  std::vector<Subscriber> all;
  all.reserve(group_.members().size() + 1);
  bool pending = !member_.empty();
  for (const auto& [id, member] : group_.members()) {
    if (pending && member_ <= id) {
      all.push_back({&member_, &metadata_, &target_});
      pending = false;
    }
    if (id != member_ && !removed_.contains(id)) all.push_back({&id, &member->metadata, &member->target});
  }
  if (pending) all.push_back({&member_, &metadata_, &target_});
  return all;
}

const ResolvedRegex* ConsumerGroupChange::resolved(std::string_view regex) const {
  if (const auto found = regexes_.find(regex); found != regexes_.end())
    return found->second ? &*found->second : nullptr;
  const auto known = group_.regexes().find(regex);
  return known == group_.regexes().end() ? nullptr : &known->second;
}

std::set<Uuid> ConsumerGroupChange::subscribed_topics(const MemberMetadata& metadata) const {
  std::set<Uuid> ids;
  const auto add = [&](const auto& names) {
    for (const std::string& name : names) {
      if (const auto topic = topics_.find(name)) ids.insert(topic->id);
    }
  };
  add(metadata.topics);
  const ResolvedRegex* regex = metadata.regex.empty() ? nullptr : resolved(metadata.regex);
  if (regex != nullptr) add(regex->topics);
  return ids;
}

int64_t ConsumerGroupChange::hash_topics() const {
  // Names that are no topic's are looked up and no more: members may send any number of them.
  std::map<std::string_view, TopicDirectory::Topic> topics;
  const auto add = [&](const auto& names) {
    for (const std::string& name : names) {
      if (const auto topic = topics_.find(name)) topics.emplace(name, *topic);
    }
  };
  std::unordered_set<uint64_t> seen;
  for (const Subscriber& one : subscribers()) {
    if (!seen.insert(subscription_hash(*one.metadata)).second) continue;
    add(one.metadata->topics);
    const ResolvedRegex* regex = one.metadata->regex.empty() ? nullptr : resolved(one.metadata->regex);
    if (regex != nullptr) add(regex->topics);
  }
  Hash hash;
  for (const auto& [name, topic] : topics) {
    hash.add(topic.name);
    hash.add(topic.id);
    hash.add(topic.partitions);
  }
  return topics.empty() ? 0 : hash.value();
}

std::string_view ConsumerGroupChange::preferred_assignor(const std::vector<const MemberMetadata*>& members,
                                                         const GroupSettings& settings) {
  std::map<std::string_view, size_t> votes;
  for (const MemberMetadata* one : members) {
    if (one->assignor &&
        std::ranges::find(settings.consumer_assignors, *one->assignor) != settings.consumer_assignors.end()) {
      ++votes[*one->assignor];
    }
  }
  const auto most = std::ranges::max_element(votes, {}, [](const auto& vote) { return vote.second; });
  return most == votes.end() ? std::string_view(settings.consumer_assignors.front()) : most->first;
}

// A target assignment for the new epoch; only what differs is written.
void ConsumerGroupChange::retarget(int32_t epoch) {
  const std::vector<Subscriber> members = subscribers();
  // Most members of a group subscribe to the same topics.
  std::unordered_map<uint64_t, std::set<Uuid>> by_subscription;
  AssignorInput input;
  for (const Subscriber& one : members) {
    const auto [topics, fresh] = by_subscription.try_emplace(subscription_hash(*one.metadata));
    if (fresh) topics->second = subscribed_topics(*one.metadata);
    for (const Uuid& id : topics->second) {
      if (fresh) input.partitions[id] = topics_.find(id)->partitions;
    }
    std::optional<std::string_view> instance;
    if (one.metadata->instance_id) instance = *one.metadata->instance_id;
    input.members.push_back({*one.id, instance, &topics->second, one.target});
  }
  std::vector<const MemberMetadata*> metadata;
  for (const Subscriber& one : members) metadata.push_back(one.metadata);
  const Assignor* assignor = find_assignor(preferred_assignor(metadata, settings_));
  auto made = assignor->assign(input);
  for (size_t i = 0; i < members.size(); ++i) {
    const bool is_subject = members[i].id == &member_;
    const bool is_known = !is_subject || group_.find(member_) != nullptr || former_ != nullptr;
    if (is_known && made[i] == *members[i].target) continue;
    records_.push_back(TargetMemberRecord{id_, *members[i].id, made[i]});
    if (is_subject) target_ = std::move(made[i]);
  }
  records_.push_back(TargetEpochRecord{id_, TargetEpochRecord::Value{epoch, now_ms_}});
}

void ConsumerGroupChange::erase_group(std::string_view id, const ConsumerGroup& group,
                                      std::vector<GroupRecord>& records) {
  const std::string name(id);
  for (const auto& [member, state] : group.members()) {
    records.push_back(CurrentAssignmentRecord{name, member, std::nullopt});
    records.push_back(TargetMemberRecord{name, member, std::nullopt});
  }
  records.push_back(TargetEpochRecord{name, std::nullopt});
  for (const auto& [member, state] : group.members())
    records.push_back(ConsumerMemberRecord{name, member, std::nullopt});
  for (const auto& [regex, topics] : group.regexes())
    records.push_back(RegexRecord{name, regex, std::nullopt});
  records.push_back(ConsumerGroupEpochRecord{name, std::nullopt});
}

}  // namespace millrace::coordinator
