// The group coordinator of one partition of __consumer_offsets, as a pure state machine: requests and time go
// in, answers and records come out. It does no I/O, waits for nothing and knows no clock, so that a test can
// drive thousands of histories through it; group_partition.h gives it a log and a clock.
//
// How to drive it:
//   replay() every record of the log, then loaded();
//   handle() each request, expire() when next_deadline() has passed. Both return Effects: append every write,
//   in order, before calling anything else here, and report each with appended() or failed(); committed()
//   whenever more of the log has become durable; send the answers that any of these returns.
// Every ticket given to handle() is answered exactly once: at once, when its records are committed, when the
// rebalance that it waits for ends, or by unload().
//
// Behaves as Apache Kafka 4.3's classic protocol (KIP-62, 134, 345, 394, 559, 800, 814). On purpose
// differently: a refused first join leaves no empty group behind; a request that a retry of the same member
// replaces is answered REBALANCE_IN_PROGRESS instead of never; at most max_pending_members ids are
// outstanding per group.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "broker/coordinator/classic_group.h"
#include "broker/coordinator/deadline_queue.h"
#include "broker/coordinator/group_messages.h"
#include "broker/coordinator/group_offsets.h"
#include "broker/coordinator/group_record.h"
#include "broker/coordinator/group_settings.h"
#include "protocol/error_code.h"
#include "protocol/uuid.h"

namespace millrace::coordinator {

// Records to append as one batch, all or none.
struct Write {
  uint64_t id = 0;
  std::vector<GroupRecord> records;
  // Whether the records change the state only once they are appended. If not, the state was changed already.
  bool apply = true;
};

struct Answer {
  uint64_t ticket = 0;
  GroupResponse response;
};

struct Effects {
  std::vector<Write> writes;
  std::vector<Answer> answers;
};

class GroupCoordinator {
 public:
  // `random_uuid` makes the member ids.
  GroupCoordinator(const GroupSettings& settings, std::function<Uuid()> random_uuid);
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

  // The topic is gone, and so are all positions in it. Positions committed under another topic id stay.
  Effects topic_deleted(std::string_view topic, const Uuid& topic_id, int64_t now_ms);

  // Someone else coordinates from now on: answers everything open with `error`. Nothing may be called
  // afterwards.
  Effects unload(ErrorCode error);

  size_t group_count() const { return groups_.size(); }
  size_t open_tickets() const;
  // For tests and metrics: fn(group id, offsets, classic group).
  template <class F>
  void for_each_group(F&& fn) const {
    for (const auto& [id, group] : groups_) fn(id, group->offsets, std::get<ClassicGroup>(group->kind));
  }

 private:
  // A group is a variant by its type; positions are kept the same way for all types.
  struct Group {
    explicit Group(std::string name, int64_t now_ms)
        : id(std::move(name)), kind(std::in_place_type<ClassicGroup>, now_ms) {}
    std::string id;
    GroupOffsets offsets;
    int64_t last_offset = -1;  // of the last record about its positions
    std::variant<ClassicGroup> kind;
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
  };
  struct AssignmentStored {
    std::string group;
    int32_t generation = 0;
    std::map<std::string, Buffer, std::less<>> assignments;
  };
  struct StaticMemberReplaced {
    std::string group;
    std::string instance;
    std::string old_id;
    std::string new_id;
    std::vector<ClassicMember::Protocol> old_protocols;
    int32_t old_rebalance_timeout_ms = 0;
    int32_t old_session_timeout_ms = 0;
    std::string old_leader;
    bool can_skip_assignment = false;
  };
  using Continuation =
      std::variant<std::monostate, SendAnswer, GroupCreated, AssignmentStored, StaticMemberReplaced>;

  Group* find(std::string_view id);
  Group& create(std::string_view id, int64_t now_ms);
  void erase(std::string_view id);
  void apply(const GroupRecord& record, int64_t offset, int64_t now_ms);
  void answer(uint64_t ticket, GroupResponse response);
  void write(std::vector<GroupRecord> records, bool apply, Continuation then);
  void write_group(Group& group, Continuation then);
  // In as many batches as it takes; `then` belongs to the last.
  void write_removals(std::vector<GroupRecord> records, Continuation then);
  Effects take_effects() { return std::exchange(effects_, {}); }
  void fire(const DeadlineTarget& due, int64_t now_ms);
  void resume(Continuation& then, int64_t now_ms);

  // group_join.cc
  void handle_request(uint64_t ticket, const JoinGroup& request, int64_t now_ms);
  void join_unknown(uint64_t ticket, const JoinGroup& request, Group& group, int64_t now_ms);
  void join_known(uint64_t ticket, const JoinGroup& request, Group& group, int64_t now_ms);
  void rejoin(uint64_t ticket, const JoinGroup& request, Group& group, ClassicMember& member, int64_t now_ms);
  void add_member(uint64_t ticket, const JoinGroup& request, Group& group, std::string id, int64_t now_ms);
  void update_member(uint64_t ticket, const JoinGroup& request, Group& group, ClassicMember& member,
                     int64_t now_ms);
  void replace_static_member(uint64_t ticket, const JoinGroup& request, Group& group, ClassicMember& member,
                             std::string new_id, int64_t now_ms);
  bool accepts(const ClassicGroup& group, std::string_view member_id) const;
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
  void sync_completing(uint64_t ticket, const SyncGroup& request, Group& group, ClassicMember& member);
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
  void expire_offsets(int64_t now_ms);
  bool expired(const ClassicGroup& group, const CommittedOffset& offset, int64_t now_ms) const;

  // group_admin.cc
  void handle_request(uint64_t ticket, const ListGroups& request, int64_t now_ms);
  void handle_request(uint64_t ticket, const DescribeGroup& request, int64_t now_ms);
  void handle_request(uint64_t ticket, const DeleteGroup& request, int64_t now_ms);

  const GroupSettings settings_;
  const std::function<Uuid()> random_uuid_;
  DeadlineQueue deadlines_;  // before the groups, whose timers are in it
  Deadline expiry_timer_;
  std::unordered_map<std::string, std::unique_ptr<Group>, StringHash, std::equal_to<>> groups_;
  Effects effects_;
  uint64_t next_write_ = 1;
  int64_t committed_end_ = 0;
  std::map<uint64_t, Continuation> unappended_;       // by write
  std::multimap<int64_t, Continuation> uncommitted_;  // by the offset that has to be committed
};

}  // namespace millrace::coordinator
