// One change of a consumer group (KIP-848) in the making. What is asked of it comes out as records; the group
// itself changes when these are applied.
//
// For a member that joins or heartbeats: one of subscribe(), rejoin() or take_over(), then update(), then
// advance(). For members that leave: remove(). Nothing here waits, and nothing knows the time but by
// `now_ms`.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "broker/coordinator/consumer_group.h"
#include "broker/coordinator/group_record.h"
#include "broker/coordinator/group_settings.h"
#include "broker/coordinator/topic_directory.h"
#include "protocol/result.h"

namespace millrace::coordinator {

class ConsumerGroupChange {
 public:
  // All outlive the change; the group doesn't change meanwhile.
  ConsumerGroupChange(std::string_view id, const ConsumerGroup& group, const TopicDirectory& topics,
                      const GroupSettings& settings, int64_t now_ms)
      : id_(id), group_(group), topics_(topics), settings_(settings), now_ms_(now_ms) {}

  // A new member.
  void subscribe(std::string member);
  // A member that the group has.
  void rejoin(const ConsumerMember& member);
  // A new process takes the place of a static member, under a new member id.
  void take_over(const ConsumerMember& former, std::string member);

  // What the member says about itself from now on. Fails with kInvalidRegularExpression.
  Result<> update(MemberMetadata metadata);
  // The member's next assignment, after the group's epoch and target have been brought up to date.
  // `reported`: what the member says it owns; null if it says nothing.
  Result<> advance(const Assignment* reported);
  // The group goes on without these members.
  void remove(const std::vector<const ConsumerMember*>& members);

  // Whether the topics are not what the group knows of them, so that a member's next change would give it
  // another epoch. Instead of all of the above.
  bool topics_differ();

  const std::string& member() const { return member_; }
  const MemberMetadata& metadata() const { return metadata_; }
  const MemberAssignment& assignment() const { return assignment_; }
  bool subscription_changed() const { return names_changed_ || regex_changed_; }
  // Whether the partitions that the member may read differ from those before the change.
  bool assigned_changed() const { return assigned_changed_; }
  std::vector<GroupRecord> take_records() { return std::move(records_); }

  // Records that take every trace of a group away (but for its positions).
  static void erase_group(std::string_view id, const ConsumerGroup& group, std::vector<GroupRecord>& records);

  // The assignor that most of these members ask for, or the broker's first.
  static std::string_view preferred_assignor(const std::vector<const MemberMetadata*>& members,
                                             const GroupSettings& settings);

 private:
  struct Subscriber {
    const std::string* id;
    const MemberMetadata* metadata;
    const Assignment* target;
  };

  // Everybody that is in after the change, in the order of ids.
  std::vector<Subscriber> subscribers() const;
  void forget_member(const ConsumerMember& member);
  bool refresh_regexes();
  bool frees_regex() const;
  void check_topics(bool bump);
  void retarget(int32_t epoch);
  std::set<Uuid> subscribed_topics(const MemberMetadata& metadata) const;
  const ResolvedRegex* resolved(std::string_view regex) const;
  int64_t hash_topics() const;

  const std::string id_;
  const ConsumerGroup& group_;
  const TopicDirectory& topics_;
  const GroupSettings& settings_;
  const int64_t now_ms_;

  std::string member_;
  MemberMetadata metadata_;
  MemberAssignment assignment_;
  Assignment target_;
  const ConsumerMember* former_ = nullptr;  // who had the member's place under another id
  std::set<std::string, std::less<>> removed_;
  std::map<std::string, std::optional<ResolvedRegex>, std::less<>> regexes_;  // that differ from the group's
  bool names_changed_ = false;
  bool regex_changed_ = false;
  bool assigned_changed_ = false;
  std::optional<int32_t> new_epoch_;
  std::vector<GroupRecord> records_;
};

}  // namespace millrace::coordinator
