// The group coordinator of one partition of __consumer_offsets, as a pure state machine: requests and time go
// in, answers and records come out. It does no I/O, waits for nothing and knows no clock, so that a test can
// drive thousands of histories through it; group_partition.h gives it a log and a clock.
//
// How to drive it:
//   replay() every record of the log, then loaded();
//   handle() each request, expire() when next_deadline() has passed. Both return Effects: append every write,
//   in order, before calling anything else here, and report each with appended() or failed(); committed()
//   whenever more of the log has become durable; send the answers that any of these returns. Only commits may
//   be handled one after the other before the first one's write is appended: none depends on another.
// Every ticket given to handle() is answered exactly once: at once, when its records are committed, when the
// rebalance that it waits for ends, or by unload().
//
// Behaves as Apache Kafka 4.3's classic protocol (KIP-62, 134, 345, 394, 559, 800, 814) and its consumer
// protocol (KIP-848, 1082, 1099, 1251). On purpose differently: a refused first join leaves no empty group
// behind; a request that a retry of the same member replaces is answered REBALANCE_IN_PROGRESS instead of
// never; at most max_pending_members ids are outstanding per group, and what groups keep in memory of what
// clients sent is bounded (max_group_bytes, max_members_bytes, max_positions_bytes); a static member may join
// again under its own id before its session ends (Kafka says UNRELEASED_INSTANCE_ID, also to a client that
// never got its first answer); a consumer group's target assignment and regular expressions are worked out
// within the heartbeat that asks for them, not some time after it; and while a group changes, its members are
// asked to heartbeat more often, so that a rebalance doesn't take several regular intervals.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "broker/coordinator/classic_group.h"
#include "broker/coordinator/consumer_group.h"
#include "broker/coordinator/consumer_group_change.h"
#include "broker/coordinator/deadline_queue.h"
#include "broker/coordinator/group_configs.h"
#include "broker/coordinator/group_memory.h"
#include "broker/coordinator/group_messages.h"
#include "broker/coordinator/group_offsets.h"
#include "broker/coordinator/group_progress.h"
#include "broker/coordinator/group_record.h"
#include "broker/coordinator/group_settings.h"
#include "broker/coordinator/topic_directory.h"
#include "protocol/error_code.h"
#include "protocol/uuid.h"

namespace millrace::coordinator {

// Records to append as one batch, all or none.
struct Write {
  int64_t id = 0;
  // Exactly one of these: at least one record, or what one request commits.
  std::vector<GroupRecord> records;
  std::optional<CommittedPositions> commit = {};
  // Whether the records change the state only once they are appended. If not, the state was changed already.
  bool apply = true;

  size_t record_count() const { return commit ? commit->size() : records.size(); }
  const std::string& group() const { return commit ? commit->group : group_of(records.front()); }
};

struct Answer {
  uint64_t ticket = 0;
  GroupResponse response;
};

struct Effects {
  std::vector<Write> writes;
  std::vector<Answer> answers;
  // For the log, and whoever reads it: something was refused, why, and what to do.
  std::optional<std::string> warning;
};

class GroupCoordinator {
 public:
  // `random_uuid` makes the member ids. `memory` counts what groups hold, for all coordinators that share it:
  // the bounds are for all of them together.
  GroupCoordinator(const GroupSettings& settings, std::function<Uuid()> random_uuid,
                   std::shared_ptr<GroupMemory> memory = std::make_shared<GroupMemory>());
  GroupCoordinator(const GroupCoordinator&) = delete;
  GroupCoordinator& operator=(const GroupCoordinator&) = delete;

  // Applies one record of the log, in order; only before loaded(). Offset: that of the record.
  void replay(const GroupRecord& record, int64_t offset);
  // The log has been replayed up to `end_offset` (exclusive), all of it committed: sessions start anew at
  // `now_ms`.
  Effects loaded(int64_t end_offset, int64_t now_ms);

  Effects handle(uint64_t ticket, const GroupRequest& request, int64_t now_ms);
  // Milliseconds in the same clock as now_ms; nothing while no time matters.
  std::optional<int64_t> next_deadline() const { return deadlines_.next_deadline(); }
  Effects expire(int64_t now_ms);

  // The write's records have the offsets from `base_offset` on and will be committed.
  void appended(Write write, int64_t base_offset, int64_t now_ms);
  // None of the write's records is in the log. `error` is the log's.
  Effects failed(const Write& write, ErrorCode error, int64_t now_ms);
  // All records below `end_offset` are committed.
  Effects committed(int64_t end_offset, int64_t now_ms);

  // The topic is gone, and so are all positions in it: they are taken out by expire(), in turns. Positions
  // committed under another topic id stay. Those of topics that went while nobody coordinated go after
  // loaded().
  Effects topic_deleted(std::string_view topic, const Uuid& topic_id, int64_t now_ms);

  // The topics of the cluster from now on; `changed` are the names of those that differ, or nothing if that
  // isn't known. Consumer groups that are subscribed to any get another assignment with their next heartbeat.
  // At first there are none.
  void topics_changed(TopicDirectoryPtr topics, const std::optional<std::vector<std::string_view>>& changed);

  // What groups have configured of their own, from now on: it holds for a member from its next heartbeat. At
  // first nothing.
  void configs_changed(GroupConfigsPtr configs) { configs_ = std::move(configs); }

  // Someone else coordinates from now on: answers everything open with `error`. Nothing else may be asked
  // afterwards.
  Effects unload(ErrorCode error);

  // Takes the memory of effects that have been dealt with for the next ones. Spares an allocation for each
  // request, and needn't be called.
  void take_back(Effects done);

  size_t group_count() const { return groups_.size(); }
  // For whoever watches, as of now; what is on its way to the log counts. In any order.
  std::vector<std::string> group_names() const;
  // Nothing for an unknown group.
  std::optional<GroupProgress> progress(std::string_view group) const;
  size_t open_tickets() const;
  // For tests and metrics: fn(group id, offsets, group), of classic groups and of consumer groups.
  template <class F>
  void for_each_group(F&& fn) const {
    for_each_of<ClassicGroup>(fn);
  }
  template <class F>
  void for_each_consumer_group(F&& fn) const {
    for_each_of<ConsumerGroup>(fn);
  }

 private:
  // A group, to be found again later: one that was deleted and made again, or that was of the other kind in
  // between, is another one.
  struct GroupRef {
    std::string id;
    uint64_t number = 0;
    uint64_t changes = 0;
  };
  // A group is a variant by its type; positions are kept the same way for all types.
  struct Group {
    Group(std::string name, int64_t now_ms, GroupMemory& memory)
        : id(std::move(name)), kind(std::in_place_type<ClassicGroup>, now_ms) {
      held.join(memory.members);
      itself.join(held);
      stored.join(memory.positions);
      classic()->held.join(held);
      count();
    }
    // What a group takes that has no members and no positions, roughly.
    static int64_t bytes_of(std::string_view id) {
      return static_cast<int64_t>(sizeof(Group) + 3 * kNodeBytes + 2 * text_bytes(id));
    }
    // To be called when its positions have changed.
    void count() {
      itself.set(offsets.empty() ? bytes_of(id) : 0);
      stored.set(offsets.empty() ? 0 : bytes_of(id) + static_cast<int64_t>(offsets.bytes()));
    }
    // The group is of this kind from now on.
    template <class Kind, class... Args>
    Kind& become(Args&&... args) {
      Kind& made = kind.template emplace<Kind>(std::forward<Args>(args)...);
      made.held.join(held);
      ++changes;
      return made;
    }
    GroupRef ref() const { return {id, number, changes}; }

    std::string id;
    uint64_t number = 0;   // in the order of their creation
    uint64_t changes = 0;  // of its kind
    // What it holds: itself while it has no positions, and its members; itself with its positions.
    ByteCount held;
    ByteCount itself;
    ByteCount stored;
    GroupOffsets offsets;
    int64_t last_offset = -1;  // of the last record about its positions, or about a consumer group
    std::variant<ClassicGroup, ConsumerGroup> kind;

    // Null if it is a group of the other kind.
    ConsumerGroup* consumer() { return std::get_if<ConsumerGroup>(&kind); }
    const ConsumerGroup* consumer() const { return std::get_if<ConsumerGroup>(&kind); }
    ClassicGroup* classic() { return std::get_if<ClassicGroup>(&kind); }
    const ClassicGroup* classic() const { return std::get_if<ClassicGroup>(&kind); }
  };
  struct StringHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };

  // What happens once a write is committed, or has failed.
  struct SendAnswer {
    uint64_t ticket = 0;
    GroupResponse response;
  };
  struct GroupCreated {
    std::string group;
    std::unique_ptr<ConsumerGroup> former;  // what it was; null if it wasn't
  };
  struct AssignmentStored {
    GroupRef group;
    int32_t generation = 0;
    std::map<std::string, Buffer, std::less<>> assignments;
  };
  struct StaticMemberReplaced {
    GroupRef group;
    std::string instance;
    std::string old_id;
    std::string new_id;
    std::vector<ClassicMember::Protocol> old_protocols;
    int32_t old_rebalance_timeout_ms = 0;
    int32_t old_session_timeout_ms = 0;
    std::string old_leader;
    bool can_skip_assignment = false;
  };
  // A batch of several; the last one's answer is that of all.
  struct PartOfRemoval {
    int64_t last_write = 0;
  };
  // A classic member has joined a consumer group and is answered.
  struct ClassicMemberJoined {
    GroupRef group;
    SendAnswer answer;
    int32_t rebalance_timeout_ms = 0;
  };
  // The group is a classic one again, once the records are appended; then its members rejoin if need be.
  struct GroupDowngraded {
    std::string group;
    std::vector<std::string> leaving;  // the members that went, whose going was the reason
    std::map<std::string, ClassicMembership> members;
    bool rebalance = false;
    std::optional<SendAnswer> answer;
  };
  using Continuation =
      std::variant<std::monostate, SendAnswer, GroupCreated, AssignmentStored, StaticMemberReplaced,
                   PartOfRemoval, ClassicMemberJoined, GroupDowngraded>;

  template <class Kind, class F>
  void for_each_of(F& fn) const {
    for (const auto& [id, group] : groups_) {
      if (const auto* kind = std::get_if<Kind>(&group->kind)) fn(id, group->offsets, *kind);
    }
  }

  // Null if there is none.
  Group* find(std::string_view id);
  Group* find(const GroupRef& ref);
  Group& create(std::string_view id, int64_t now_ms);
  void erase(std::string_view id);
  void apply(const GroupRecord& record, int64_t offset, int64_t now_ms);
  void apply(const CommittedPositions& commit, int64_t last_offset, int64_t now_ms);
  void apply_to_consumer_group(const GroupRecord& record, int64_t offset, int64_t now_ms);
  void answer(uint64_t ticket, GroupResponse response);
  // Answers once all that the group shows is committed.
  void answer_when_stored(const Group* group, uint64_t ticket, GroupResponse response);
  void write(std::vector<GroupRecord> records, bool apply, Continuation then);
  void write(CommittedPositions commit, SendAnswer then);
  void write_group(Group& group, Continuation then);
  // In as many batches as it takes; `then` belongs to the last, and tells of any that has failed.
  void write_removals(std::vector<GroupRecord> records, SendAnswer then);
  ErrorCode check_room(const Group* group, std::string_view id, int64_t more, int64_t now_ms);
  bool has_room_for_positions(const OffsetCommit& request, const Group* group, int64_t now_ms);
  Effects take_effects() { return std::exchange(effects_, {}); }
  void fire(const DeadlineTarget& due, int64_t now_ms);
  void load(Group& group, int64_t now_ms);
  void resume(Continuation& then, int64_t now_ms);
  // The answer that waits for a write; null if none does. T: Continuation, const or not.
  template <class T>
  static auto answer_in(T& then) -> decltype(std::get_if<SendAnswer>(&then)) {
    if (auto* send = std::get_if<SendAnswer>(&then)) return send;
    if (auto* joined = std::get_if<ClassicMemberJoined>(&then)) return &joined->answer;
    auto* downgrade = std::get_if<GroupDowngraded>(&then);
    return downgrade != nullptr && downgrade->answer ? &*downgrade->answer : nullptr;
  }

  // group_join.cc
  void handle_request(uint64_t ticket, const JoinGroup& request, int64_t now_ms);
  Group& create_classic(std::string_view id, int64_t now_ms);
  Group& make_classic(Group& group, int64_t now_ms);
  void join_unknown(uint64_t ticket, const JoinGroup& request, Group& group, int64_t now_ms);
  void join_known(uint64_t ticket, const JoinGroup& request, Group& group, int64_t now_ms);
  void rejoin(uint64_t ticket, const JoinGroup& request, Group& group, ClassicMember& member, int64_t now_ms);
  void add_member(uint64_t ticket, const JoinGroup& request, Group& group, std::string id, int64_t now_ms);
  void update_member(uint64_t ticket, const JoinGroup& request, Group& group, ClassicMember& member,
                     int64_t now_ms);
  void replace_static_member(uint64_t ticket, const JoinGroup& request, Group& group, ClassicMember& member,
                             std::string new_id, int64_t now_ms);
  bool accepts(const ClassicGroup& group, std::string_view member_id) const;
  ErrorCode check_room(const Group* group, const JoinGroup& request, int64_t now_ms);
  void refuse_join(uint64_t ticket, std::string_view member, ErrorCode error);
  void static_member_stored(StaticMemberReplaced& replaced, int64_t now_ms);
  void static_member_failed(StaticMemberReplaced& replaced, ErrorCode error, int64_t now_ms);
  JoinGroupResult joined(const ClassicGroup& group, const ClassicMember& member) const;

  // group_rebalance.cc
  void rebalance_or_complete_join(Group& group, int64_t now_ms);
  void prepare_rebalance(Group& group, int64_t now_ms);
  void maybe_complete_join(Group& group, int64_t now_ms);
  void complete_join(Group& group, int64_t now_ms);
  void end_initial_delay(Group& group, int64_t now_ms);
  void expire_sync(Group& group, int64_t now_ms);
  void expire_session(Group& group, ClassicMember& member, int64_t now_ms);
  void expire_pending(Group& group, std::string id, int64_t now_ms);
  void remove_member(Group& group, ClassicMember& member);
  void answer_join(ClassicGroup& group, ClassicMember& member, JoinGroupResult result);
  void answer_sync(ClassicMember& member, SyncGroupResult result);
  void propagate_assignment(Group& group, ErrorCode error, int64_t now_ms);
  void start_session(Group& group, ClassicMember& member, int64_t timeout_ms, int64_t now_ms);

  // group_membership.cc
  void handle_request(uint64_t ticket, const SyncGroup& request, int64_t now_ms);
  void handle_request(uint64_t ticket, const Heartbeat& request, int64_t now_ms);
  void handle_request(uint64_t ticket, const LeaveGroup& request, int64_t now_ms);
  ErrorCode leave(Group& group, const LeaveGroup::Member& member);
  void sync_completing(uint64_t ticket, const SyncGroup& request, Group& group, ClassicMember& member,
                       int64_t now_ms);
  void synced(ClassicGroup& group, std::string_view member);
  void assignment_stored(AssignmentStored& stored, int64_t now_ms);
  void assignment_failed(AssignmentStored& stored, ErrorCode error, int64_t now_ms);
  static ErrorCode check_member(const ClassicGroup& group, std::string_view member,
                                const std::optional<std::string_view>& instance);

  // group_commits.cc
  void handle_request(uint64_t ticket, const OffsetCommit& request, int64_t now_ms);
  void handle_request(uint64_t ticket, const OffsetFetch& request, int64_t now_ms);
  void handle_request(uint64_t ticket, const OffsetDelete& request, int64_t now_ms);
  ErrorCode check_commit(const OffsetCommit& request, Group* group, int64_t now_ms);

  // group_sweep.cc
  // One walk over all groups that takes out positions, and how far it is.
  struct Sweep {
    enum class Kind : uint8_t {
      kDeletedTopic,  // those of a topic that was deleted
      kFormerTopics,  // those committed to a topic that isn't there any more
      kExpiry,        // those and the expired ones, and groups that nobody needs any more
    };
    Kind kind;
    std::string topic = {};
    Uuid topic_id = {};
    // Where it goes on: at this position of this group, or of the first one after it.
    uint64_t group = 0;
    std::string at_topic = {};
    int32_t at_partition = INT32_MIN;
    bool keeps = false;  // some position of the group stays
  };
  struct SweepTurn;
  void start_sweep(Sweep sweep, int64_t now_ms);
  void sweep(int64_t now_ms);
  bool sweep_group(Sweep& sweep, const Group& group, SweepTurn& turn) const;
  void expire_offsets(int64_t now_ms);
  void expire_soon(int64_t now_ms);
  bool expired(const Group& group, const CommittedOffset& offset, int64_t now_ms) const;
  static bool may_expire(const Group& group, std::string_view topic);
  static bool is_unused(const Group& group);

  // group_admin.cc
  static void erase_group(const Group& group, std::vector<GroupRecord>& records);
  void handle_request(uint64_t ticket, const ListGroups& request, int64_t now_ms);
  void handle_request(uint64_t ticket, const DescribeGroup& request, int64_t now_ms);
  void handle_request(uint64_t ticket, const DeleteGroup& request, int64_t now_ms);

  void handle_request(uint64_t ticket, const DescribeConsumerGroup& request, int64_t now_ms);
  std::string_view preferred_assignor(const ConsumerGroup& group) const;
  DescribeConsumerGroupResult::Member described(const ConsumerMember& member) const;

  // consumer_heartbeat.cc
  struct Joined {  // the group that a member comes to, with the records that make it so if it wasn't
    const ConsumerGroup* group = nullptr;
    std::unique_ptr<ConsumerGroup> made;
    std::vector<GroupRecord> records;
  };
  void handle_request(uint64_t ticket, const ConsumerHeartbeat& request, int64_t now_ms);
  Result<> check_heartbeat(const ConsumerHeartbeat& request) const;
  Result<Joined> consumer_group_for(const ConsumerHeartbeat& request, Group* group, int64_t now_ms) const;
  Result<> find_member(const ConsumerGroup& group, const ConsumerHeartbeat& request, std::string member,
                       ConsumerGroupChange& change) const;
  bool is_settled(const ConsumerGroup& group, const ConsumerMember& member,
                  const ConsumerHeartbeat& request) const;
  int32_t heartbeat_interval_ms(std::string_view id, const ConsumerGroup& group, int64_t now_ms,
                                bool changes = false) const;
  void finish_heartbeat(uint64_t ticket, const ConsumerHeartbeat& request, Joined joined,
                        ConsumerGroupChange& change, int64_t now_ms);
  void leave_consumer_group(uint64_t ticket, const ConsumerHeartbeat& request, int64_t now_ms);

  // consumer_sessions.cc
  metadata::GroupConfig config_of(std::string_view group) const;
  void fence(Group& group, const std::vector<const ConsumerMember*>& members, Continuation then,
             int64_t now_ms);
  void fire_consumer(const DeadlineTarget& due, int64_t now_ms);
  void start_session(Group& group, ConsumerMember& member, int64_t now_ms);
  void watch_revocation(Group& group, ConsumerMember& member, int64_t now_ms);

  // group_migration.cc
  Result<Joined> upgrade(std::string_view id, const ClassicGroup& group, int64_t now_ms) const;
  void ask_to_rejoin(const Write& upgrade, int64_t end_offset);
  bool can_downgrade(const ConsumerGroup& group, const std::vector<const ConsumerMember*>& without,
                     size_t remaining) const;
  struct Replacement {
    const ConsumerMember* former = nullptr;
    const std::string& id;
    const MemberMetadata& metadata;
    const MemberAssignment& assignment;
  };
  void downgrade(Group& group, const std::vector<const ConsumerMember*>& without,
                 const std::optional<Replacement>& replacement, GroupDowngraded then, int64_t now_ms);
  void downgraded(GroupDowngraded& then, int64_t now_ms);
  bool stay_consumer_group(GroupDowngraded& failed, int64_t now_ms);

  // classic_members.cc
  void join_consumer_group(uint64_t ticket, const JoinGroup& request, Group& group, int64_t now_ms);
  void classic_member_joined(ClassicMemberJoined& joined, int64_t now_ms);
  void sync_with_consumer_group(uint64_t ticket, const SyncGroup& request, Group& group, int64_t now_ms);
  void heartbeat_to_consumer_group(uint64_t ticket, const Heartbeat& request, Group& group, int64_t now_ms);
  void leave_consumer_group(uint64_t ticket, const LeaveGroup& request, Group& group, int64_t now_ms);
  static Result<ConsumerMember*> find_classic(const ConsumerGroup& group, std::string_view member,
                                              const std::optional<std::string_view>& instance,
                                              int32_t generation);
  void await_join(Group& group, ConsumerMember& member, int64_t now_ms);
  static ErrorCode check_commit(const OffsetCommit& request, const ConsumerGroup& group);
  static ErrorCode check_fetch(const OffsetFetch& request, const ConsumerGroup& group);

  const GroupSettings settings_;
  const std::function<Uuid()> random_uuid_;
  DeadlineQueue deadlines_;  // before the groups, whose timers are in it
  Deadline expiry_timer_;
  Deadline sweep_timer_;
  int64_t last_expiry_ms_ = INT64_MIN / 2;
  const std::shared_ptr<GroupMemory> memory_;  // before the groups, which are part of it
  TopicDirectoryPtr topics_;
  GroupConfigsPtr configs_;
  std::unordered_map<std::string, std::unique_ptr<Group>, StringHash, std::equal_to<>> groups_;
  std::map<uint64_t, Group*> in_order_;  // by their numbers
  uint64_t next_group_ = 0;
  std::deque<Sweep> sweeps_;  // one after the other
  Effects effects_;
  int64_t next_write_ = 1;
  int64_t committed_end_ = 0;
  std::map<int64_t, Continuation> unappended_;        // by write
  std::multimap<int64_t, Continuation> uncommitted_;  // by the offset that has to be committed
};

}  // namespace millrace::coordinator
