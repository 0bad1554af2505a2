// The state of one group in the classic protocol, whose members agree on assignments among themselves: who is
// in, which generation, who still has to join or sync. It decides nothing over time and answers nobody;
// GroupCoordinator does.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "broker/coordinator/byte_count.h"
#include "broker/coordinator/deadline_queue.h"
#include "broker/coordinator/group_messages.h"
#include "broker/coordinator/group_record.h"
#include "protocol/bytes.h"

namespace millrace::coordinator {

enum class GroupState : uint8_t { kEmpty, kPreparingRebalance, kCompletingRebalance, kStable };

// Kafka's name, e.g. "PreparingRebalance".
std::string_view state_name(GroupState state);

struct ClassicMember {
  using Protocol = ClassicMembership::Protocol;

  std::string id;
  std::optional<std::string> instance;
  std::string client_id;
  std::string client_host;
  int32_t session_timeout_ms = 0;
  int32_t rebalance_timeout_ms = 0;
  std::vector<Protocol> protocols;  // in the order of its preference
  Buffer assignment;
  bool is_new = false;  // has not had its first answer yet, so it can't heartbeat
  // Requests of this member that wait for the rebalance.
  std::optional<uint64_t> join_ticket;
  std::optional<uint64_t> sync_ticket;
  Deadline session;
  ByteCount held;  // by what it sent, and its assignment

  // What it holds, roughly.
  int64_t bytes() const;
  bool is_static() const { return instance.has_value(); }
  bool matches(const std::vector<JoinGroup::Protocol>& requested) const;
  // Empty when the member doesn't have the protocol.
  Bytes metadata(std::string_view protocol) const;
};

// A member that was given an id and has not joined with it yet.
struct PendingMember {
  std::string id;
  Deadline session;
  ByteCount held;
};

class ClassicGroup {
 public:
  using Members = std::map<std::string, std::unique_ptr<ClassicMember>, std::less<>>;

  explicit ClassicGroup(int64_t now_ms) : state_timestamp_ms(now_ms) {}
  // The group as its last generation left it (all members stable and none waiting).
  explicit ClassicGroup(const StoredGroup& stored);

  ByteCount held;     // before the members, which are part of it
  ByteCount storing;  // the assignment that is on its way to the log
  GroupState state = GroupState::kEmpty;
  GroupState previous_state = GroupState::kEmpty;
  int64_t state_timestamp_ms = -1;
  int32_t generation = 0;
  std::optional<std::string> protocol_type;
  std::optional<std::string> protocol;
  std::optional<std::string> leader;
  std::map<std::string, PendingMember, std::less<>> pending;  // given an id, not joined with it
  std::set<std::string, std::less<>> pending_sync;            // joined this generation, not synced
  int32_t storing_generation = -1;  // the one whose assignment is on its way to the log
  bool member_added = false;        // during the initial delay, which is then extended
  int32_t initial_delay_ms = 0;
  int32_t initial_remaining_ms = 0;
  Deadline join_timer;
  Deadline sync_timer;

  const Members& members() const { return members_; }
  ClassicMember* find(std::string_view id) const;
  ClassicMember* find_static(std::string_view instance) const;
  bool is_leader(std::string_view id) const { return leader == id; }
  size_t static_count() const { return static_members_.size(); }

  // Adds a member with an id (and instance) that the group doesn't have and that is supported; without a
  // leader it becomes the leader.
  ClassicMember& add(std::unique_ptr<ClassicMember> member);
  // Takes the member out, pending or not; another one becomes leader if it was. Its open requests must have
  // been answered.
  void remove(std::string_view id);
  // Gives a static member a new id and keeps all else; its open requests must have been answered.
  ClassicMember& rename(std::string_view instance, std::string new_id);
  void update(ClassicMember& member, std::vector<ClassicMember::Protocol> protocols,
              int32_t rebalance_timeout_ms, int32_t session_timeout_ms);
  void set_assignment(ClassicMember& member, Buffer assignment);
  // A join request of the member waits from now on, or no longer.
  void set_join_ticket(ClassicMember& member, std::optional<uint64_t> ticket);

  void transition(GroupState to, int64_t now_ms);
  // The next generation: a protocol is chosen, everybody has to sync; without members the group is empty.
  void next_generation(int64_t now_ms);

  size_t awaiting_join() const { return awaiting_join_; }
  bool all_joined() const { return members_.size() == awaiting_join_ && pending.empty(); }
  // Whether there is a leader whose join waits; if the leader's doesn't, one of those whose does is made
  // leader.
  bool elect_joined_leader();
  // The longest of all members'.
  int32_t rebalance_timeout_ms() const;

  // Whether a member of this type with these protocols can be in the group: one of them is supported by all
  // members.
  bool supports(std::string_view type, const std::vector<JoinGroup::Protocol>& protocols) const;
  // What most members prefer among what all support; equal votes are decided by name.
  std::string select_protocol() const;
  bool uses_consumer_protocol() const { return protocol_type == "consumer"; }
  // Unknown when members don't follow the consumer protocol's format: then, with type "consumer", any topic.
  bool subscribes(std::string_view topic) const;
  bool knows_subscription() const { return subscribed_.has_value(); }
  const std::optional<std::set<std::string, std::less<>>>& subscription() const { return subscribed_; }

  StoredGroup stored() const;

 private:
  void count(ClassicMember& member);
  void count_protocols(const ClassicMember& member, int by);
  void refresh_subscription();

  Members members_;
  std::map<std::string, std::string, std::less<>> static_members_;  // instance -> member id
  std::map<std::string, size_t, std::less<>> supported_;            // protocol -> members that support it
  size_t awaiting_join_ = 0;
  std::optional<std::set<std::string, std::less<>>> subscribed_;
  ByteCount subscribed_held_;
};

}  // namespace millrace::coordinator
