// The state of one group in the consumer protocol (KIP-848), whose members say what they own and are told
// what to own, each by its own heartbeats. It changes by its records alone, so that replay rebuilds it; what
// is to happen is decided by ConsumerGroupChange, and when by GroupCoordinator.
//
// Epochs: the group's grows with whatever asks for another assignment; the target assignment has that of the
// group it was made for; a member's is that of the target it has reached.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "broker/coordinator/byte_count.h"
#include "broker/coordinator/deadline_queue.h"
#include "broker/coordinator/group_record.h"

namespace millrace::coordinator {

// In the member epoch of a heartbeat, and of a static member that is away.
inline constexpr int32_t kJoiningEpoch = 0;
inline constexpr int32_t kLeavingEpoch = -1;
inline constexpr int32_t kStaticLeavingEpoch = -2;

struct ConsumerMember {
  std::string id;
  MemberMetadata metadata;
  MemberAssignment assignment;
  Assignment target;
  ByteCount held;             // by what it says about itself, and by its assignments
  bool is_described = false;  // there is a record of its metadata: during a replay others may come first

  Deadline session;
  Deadline revocation;  // to have given up partitions (rebalance timeout)
  // Of members that speak the classic protocol: to join again, and to sync after that.
  Deadline join;
  Deadline sync;
  // After this it is tried again to take it out of the group; 0 unless that has failed.
  int64_t retry_ms = 0;

  bool is_classic() const { return metadata.classic.has_value(); }
  bool has_reached(int32_t target_epoch) const {
    return assignment.state == MemberState::kStable && assignment.epoch == target_epoch;
  }
};

// What a member of this id holds by what it says about itself, roughly.
int64_t bytes_of(std::string_view id, const MemberMetadata& metadata);
// And with its assignments, however few bytes asked for them: one name may stand for thousands of partitions.
int64_t bytes_of(const ConsumerMember& member);
// A regular expression with the topics that it stands for.
int64_t bytes_of(std::string_view regex, const ResolvedRegex& resolved);

class ConsumerGroup {
 public:
  ByteCount held;  // before the members and the regular expressions, which are part of it

  using Members = std::map<std::string, std::unique_ptr<ConsumerMember>, std::less<>>;
  using Regexes = std::map<std::string, ResolvedRegex, std::less<>>;

  int32_t epoch() const { return epoch_; }
  int64_t metadata_hash() const { return metadata_hash_; }
  int32_t target_epoch() const { return target_epoch_; }
  const Members& members() const { return members_; }
  const Regexes& regexes() const { return regexes_; }

  // Null if there is none.
  ConsumerMember* find(std::string_view id) const;
  ConsumerMember* find_static(std::string_view instance) const;
  // Who owns the partition, or has yet to give it up.
  const ConsumerMember* owner(const Uuid& topic, int32_t partition) const;

  // Kafka's name: Empty, Assigning, Reconciling or Stable.
  std::string_view state_name() const;
  // Whether a member is subscribed to the topic, by name or by a regular expression as last resolved.
  bool subscribes(std::string_view topic) const;
  bool uses_regex(std::string_view regex) const;
  // Whether partitions of the member's target are still owned by others.
  bool waits_for_partitions(const ConsumerMember& member) const;
  // The type of the group that its classic members see.
  static constexpr std::string_view kProtocolType = "consumer";
  // Whether a classic member with these protocols can be in the group: all classic members know one of them.
  bool supports(const std::set<std::string_view>& protocols) const;

  // The records, of this group. Tombstones are nothing. Returns the member that they are about, null if it is
  // gone.
  void apply(const std::optional<ConsumerGroupEpochRecord::Value>& value);
  void apply(const std::optional<TargetEpochRecord::Value>& value);
  ConsumerMember* apply(std::string_view member, const std::optional<MemberMetadata>& value);
  void apply(std::string_view member, const std::optional<Assignment>& value);
  ConsumerMember* apply(std::string_view member, const std::optional<MemberAssignment>& value);
  void apply(std::string_view regex, const std::optional<ResolvedRegex>& value);
  // After a replay: drops what is left of members that were not described.
  void drop_undescribed();

  // Soft state: when a record last changed the group; not known after a replay.
  int64_t changed_ms = INT64_MIN / 2;
  // Whether topics have changed since they were last looked at.
  bool topics_stale = true;
  bool regexes_stale = true;
  void set_stale(bool stale) { topics_stale = regexes_stale = stale; }

 private:
  void count(ConsumerMember& member);
  ConsumerMember& find_or_add(std::string_view id);
  void disown(const ConsumerMember& member);

  int32_t epoch_ = 0;
  int64_t metadata_hash_ = 0;
  int32_t target_epoch_ = 0;
  Members members_;
  Regexes regexes_;
  ByteCount regexes_held_;
  std::map<std::string, std::string, std::less<>> static_members_;  // instance -> member id
  std::map<Uuid, std::map<int32_t, const ConsumerMember*>> owners_;
};

}  // namespace millrace::coordinator
