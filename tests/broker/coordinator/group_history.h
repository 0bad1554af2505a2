// A random history of one coordinator and the clients around it: members that join, work, stall, crash and
// leave, a log that fails or commits late, a broker that stops or loses what was not committed. Everything
// follows from the seed. After every step it is checked what must hold in any history; what doesn't throws
// Violation.
//
// A Fault makes the coordinator look wrong from outside, the way a missing check would, so that a test can
// show that the checks notice.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "broker/coordinator/group_coordinator.h"
#include "tests/broker/coordinator/history.h"

namespace millrace::coordinator {

enum class Fault {
  kNone,
  kNoGenerationCheck,  // commits of former generations are taken
  kNoFencing,          // a replaced static member goes on as before
  kEarlyAnswer,        // commits are answered before they are committed
  kLostAnswer,         // now and then an answer is never given
  kDoubleAnswer,       // or given twice
  kLostRecord,         // a record doesn't reach the log
  kWrongAssignment,    // a member gets another's assignment
  kNoSessionTimeouts,  // deadlines are not met
  kFetchOfOtherGroup,  // positions are mixed up between groups
};

struct OpenGroupRequest : OpenRequest {
  // For commits and fetches.
  std::string group;
  int partition = 0;
  int64_t offset = -1;
  int32_t generation = -1;
  int64_t at_least = -1;        // a fetch: what was acknowledged or seen before it was sent
  int32_t newest_at_send = -1;  // a commit: the newest generation that anybody had synced with
  std::string owner;
  bool fenced = false;  // sent by a process whose instance had a newer one by then
};

class GroupHistory final : public History<OpenGroupRequest> {
 public:
  GroupHistory(uint64_t seed, Fault fault)
      : History(seed, settings(seed),
                {.early_answers = fault == Fault::kEarlyAnswer,
                 .lost_answers = fault == Fault::kLostAnswer,
                 .double_answers = fault == Fault::kDoubleAnswer,
                 .no_deadlines = fault == Fault::kNoSessionTimeouts}),
        fault_(fault) {
    for (int i = 0; i < kClients; ++i) {
      Client client;
      client.group = i % 2 == 0 ? "even" : "odd";
      if (i % 3 == 0) client.instance = "instance-" + std::to_string(i);
      client.knows_ids = i % 4 != 1;
      clients_.push_back(client);
    }
    start();
  }

 private:
  using Open = OpenGroupRequest;
  static constexpr int kClients = 7;
  static constexpr int kPartitions = 5;
  static constexpr int32_t kSessionMs = 10'000;
  static constexpr int32_t kRebalanceMs = 20'000;
  static constexpr int64_t kAnswerBoundMs = 420'000;  // the new members' join timeout and two rebalances

  enum class Phase { kOut, kJoining, kSyncing, kIn };
  struct Client {
    std::string group;
    std::optional<std::string> instance;
    bool knows_ids = true;  // a version with MEMBER_ID_REQUIRED
    std::string member;
    int32_t generation = -1;
    Phase phase = Phase::kOut;
    std::set<int> owned;
    bool stalled = false;
    std::string metadata = "a";
    uint64_t ticket = 0;  // the one it waits for; answers to others are none of its business any more
  };
  static GroupSettings settings(uint64_t seed) {
    GroupSettings settings;
    if (seed % 3 == 0) settings.initial_rebalance_delay_ms = 0;
    settings.max_size = 6;
    settings.new_member_join_timeout_ms = 300'000;
    return settings;
  }

  void step() override {
    if (trouble({.advance = 30, .far = 10, .far_ms = 30'000, .durable = 40})) return;
    if (!ghosts_.empty() && chance(10)) haunt();
    if (below(200) == 0) start_over(chance(50) ? "even" : "odd");
    const size_t i = below(clients_.size());
    Client& client = clients_[i];
    if (chance(2)) client.stalled = true;
    if (chance(20)) client.stalled = false;
    if (client.stalled) return;
    act(i, client);
  }

  // Everybody leaves and the group is deleted, while what it wrote may still be on its way; and again.
  void start_over(const std::string& group) {
    do {
      for (size_t i = 0; i < clients_.size(); ++i) {
        if (clients_[i].group == group && !clients_[i].member.empty()) leave(i, clients_[i]);
      }
      send(0, DeleteGroup{group}, {});
      for (size_t i = 0; i < clients_.size(); ++i) {
        if (clients_[i].group == group && clients_[i].phase == Phase::kOut && chance(30))
          join(i, clients_[i]);
      }
      if (chance(50)) advance(0);
    } while (chance(60));
  }

  // Which of the groups of this name it is: where it was deleted last in the log, which is where it starts
  // over.
  std::string life(const std::string& group) {
    const auto found = deletions_.find(group);
    const bool never = found == deletions_.end() || found->second.empty();
    return group + (never ? "" : "@" + std::to_string(found->second.back()));
  }

  void crashed() override {
    for (auto& [group, offsets] : deletions_) {
      while (!offsets.empty() && offsets.back() >= log().size()) offsets.pop_back();
    }
  }

  void haunt() {
    const size_t g = below(ghosts_.size());
    auto& [i, ghost] = ghosts_[g];
    chance(50) && !ghost.owned.empty() ? commit(i, ghost) : heartbeat(i, ghost);
    if (chance(20)) ghosts_.erase(ghosts_.begin() + static_cast<long>(g));
  }

  void act(size_t i, Client& client) {
    if (chance(3)) {  // another process with the same name starts; the old one doesn't know yet
      if (client.phase == Phase::kIn && ghosts_.size() < 20) ghosts_.emplace_back(i, client);
      client.member.clear();
      client.phase = Phase::kOut;
      client.owned.clear();
      client.generation = -1;
    }
    switch (client.phase) {
      case Phase::kOut:
        return join(i, client);
      case Phase::kJoining:
      case Phase::kSyncing:
        if (chance(2)) client.phase = Phase::kOut;  // gives up waiting
        return;
      case Phase::kIn:
        return work(i, client);
    }
  }

  void work(size_t i, Client& client) {
    if (chance(3)) return leave(i, client);
    if (chance(3)) client.metadata = client.metadata == "a" ? "b" : "a";
    if (chance(3)) return join(i, client);
    if (chance(35) && !client.owned.empty()) return commit(i, client);
    if (chance(20)) return fetch(i, client);
    heartbeat(i, client);
  }

  void join(size_t i, Client& client) {
    JoinGroup request;
    request.group = client.group;
    request.member = client.member;
    request.instance = client.instance;
    request.protocol_type = "consumer";
    request.protocols = {{"range", as_bytes(client.metadata)}, {"sticky", {}}};
    request.session_timeout_ms = kSessionMs;
    request.rebalance_timeout_ms = kRebalanceMs;
    request.client_id = "client";
    request.member_id_required = client.knows_ids && !client.instance;
    request.can_skip_assignment = i % 2 == 0;
    client.phase = Phase::kJoining;
    client.owned.clear();
    send(i, request, {});
  }

  void sync(size_t i, Client& client, const JoinGroupResult& joined) {
    SyncGroup request;
    request.group = client.group;
    request.member = client.member;
    request.instance = client.instance;
    request.generation = client.generation;
    std::vector<std::string> shares(joined.members.size());
    if (joined.leader == client.member && !joined.skip_assignment) {
      for (int p = 0; p < kPartitions; ++p)
        shares[static_cast<size_t>(p) % shares.size()] += static_cast<char>('0' + p);
      for (size_t m = 0; m < shares.size(); ++m) {
        request.assignments.push_back({joined.members[m].member, as_bytes(shares[m])});
      }
    }
    client.phase = Phase::kSyncing;
    Open open;
    open.group = life(client.group);
    open.owner = client.instance.value_or(client.member);
    send(i, request, open);
  }

  void heartbeat(size_t i, Client& client) {
    Heartbeat request{client.group, client.member, client.instance, client.generation};
    Open open;
    open.owner = client.member;
    open.fenced = client.instance && former_ids_[*client.instance].contains(client.member);
    unfence(client, request.member);
    send(i, request, open);
  }

  void leave(size_t i, Client& client) {
    LeaveGroup request{client.group, {{client.member, client.instance, {}}}};
    send(i, request, {});
    client.phase = Phase::kOut;
    client.member.clear();
    client.generation = -1;
    client.owned.clear();
  }

  void commit(size_t i, Client& client) {
    Open open;
    open.group = life(client.group);
    open.partition = *std::next(client.owned.begin(), static_cast<long>(below(client.owned.size())));
    open.offset = ++next_offset_;
    open.generation = client.generation;
    open.newest_at_send = newest_generation_[open.group];
    open.owner = client.member;
    open.fenced = client.instance && former_ids_[*client.instance].contains(client.member);
    OffsetCommit request;
    request.group = client.group;
    request.member = client.member;
    request.instance = client.instance;
    request.generation = client.generation;
    request.topics = {{"t", {}, {{open.partition, open.offset, -1, {}}}}};
    std::string current_member;
    if (fault_ == Fault::kNoGenerationCheck) {
      machine().for_each_group([&](const std::string& id, const GroupOffsets&, const ClassicGroup& group) {
        if (id != client.group || group.members().empty()) return;
        request.generation = group.generation;
        current_member = group.members().begin()->first;
      });
      if (!current_member.empty()) {
        request.member = current_member;
        request.instance.reset();
      }
    }
    unfence(client, request.member);
    send(i, request, open);
  }

  void fetch(size_t i, Client& client) {
    Open open;
    open.group = life(client.group);
    open.partition = static_cast<int>(below(kPartitions));
    const auto seen = seen_.find({open.group, open.partition});
    if (seen != seen_.end()) open.at_least = seen->second;
    OffsetFetch request;
    request.group = client.group;
    if (fault_ == Fault::kFetchOfOtherGroup && chance(20))
      request.group = client.group == "odd" ? "even" : "odd";
    request.topics = {{"t", {}, {open.partition}}};
    send(i, request, open);
  }

  void unfence(const Client& client, std::string_view& member) {
    if (fault_ != Fault::kNoFencing || !client.instance) return;
    const auto current = static_ids_.find(*client.instance);
    if (current != static_ids_.end()) member = current->second;
  }

  void send(size_t i, const GroupRequest& request, Open open) {
    open.bound_ms = kAnswerBoundMs;
    const uint64_t ticket = open_ticket(i, request, std::move(open));
    const bool awaited =
        std::holds_alternative<JoinGroup>(request) || std::holds_alternative<SyncGroup>(request);
    if (awaited) clients_[i].ticket = ticket;
    History::send(ticket, request);
  }

  // Null if it writes something else.
  static const GroupMetadataRecord* state_in(const Write& write) {
    return write.commit ? nullptr : std::get_if<GroupMetadataRecord>(&write.records.back());
  }

  void logged(const Write& write) override {
    const GroupMetadataRecord* group = state_in(write);
    if (group != nullptr && !group->value) deletions_[group->group].push_back(log().size() - 1);
    const auto* lost = std::get_if<OffsetCommitRecord>(&log().back());
    if (fault_ != Fault::kLostRecord || lost == nullptr || !chance(5)) return;
    log().back() = OffsetCommitRecord{lost->group, "other", 0, lost->value};
  }

  // A group that has become empty and could not say so to its log: its former members would be back after a
  // restart, and leave with their sessions. Kafka lives with that too.
  void before_append(const Write& write) override {
    const GroupMetadataRecord* group = state_in(write);
    if (group == nullptr) return;
    if (append_fails() && !group->value) return;  // a deletion: the log stays behind if it was
    unstored_.erase(group->group);
    if (append_fails() && group->value && group->value->members.empty()) unstored_.insert(group->group);
  }

  void receive(Answer& answer, const Open& open) override {
    Client& client = clients_[open.client];
    const bool awaited = client.ticket == answer.ticket;
    if (auto* joined = std::get_if<JoinGroupResult>(&answer.response)) {
      if (awaited && client.phase == Phase::kJoining) on_joined(open.client, client, *joined);
    } else if (auto* synced = std::get_if<SyncGroupResult>(&answer.response)) {
      if (awaited && client.phase == Phase::kSyncing) on_synced(client, open, *synced);
    } else if (auto* beat = std::get_if<HeartbeatResult>(&answer.response)) {
      on_heartbeat(open.client, client, open, beat->error);
    } else if (auto* committed = std::get_if<OffsetCommitResult>(&answer.response)) {
      on_committed(open, committed->errors.at(0));
    } else if (auto* fetched = std::get_if<OffsetFetchResult>(&answer.response)) {
      on_fetched(open, *fetched);
    }
  }

  void on_joined(size_t i, Client& client, const JoinGroupResult& joined) {
    client.phase = Phase::kOut;
    if (joined.error == ErrorCode::kMemberIdRequired) {
      client.member = joined.member;
      return queue_join(i);
    }
    if (joined.error == ErrorCode::kNone) {
      client.member = joined.member;
      client.generation = joined.generation;
      if (client.instance) static_ids_[*client.instance] = joined.member;
      return sync(i, client, joined);
    }
    if (joined.error == ErrorCode::kUnknownMemberId || joined.error == ErrorCode::kFencedInstanceId) {
      client.member.clear();
    }
  }
  void queue_join(size_t i) { join(i, clients_[i]); }

  void on_synced(Client& client, const Open& open, const SyncGroupResult& synced) {
    client.phase = Phase::kOut;
    if (synced.error == ErrorCode::kUnknownMemberId) client.member.clear();
    if (synced.error != ErrorCode::kNone) return;
    client.phase = Phase::kIn;
    for (const std::byte byte : synced.assignment) {
      int partition = std::to_integer<int>(byte) - '0';
      if (fault_ == Fault::kWrongAssignment && chance(5)) partition = (partition + 1) % kPartitions;
      client.owned.insert(partition);
      const auto key = std::tuple(open.group, client.generation, partition);
      const auto [owner, fresh] = owners_.emplace(key, open.owner);
      if (!fresh && owner->second != open.owner)
        throw Violation("a partition has two owners in one generation");
    }
    newest_generation_[open.group] = std::max(newest_generation_[open.group], client.generation);
  }

  void on_heartbeat(size_t, Client& client, const Open& open, ErrorCode error) {
    check_fenced(open, error);
    if (client.member != open.owner || client.phase != Phase::kIn || error == ErrorCode::kNone) return;
    client.phase = Phase::kOut;
    client.owned.clear();
    if (error == ErrorCode::kUnknownMemberId || error == ErrorCode::kFencedInstanceId) client.member.clear();
  }

  void check_fenced(const Open& open, ErrorCode error) {
    if (open.fenced && error == ErrorCode::kNone) throw Violation("a fenced member goes on");
  }

  void on_committed(const Open& open, ErrorCode error) {
    if (error != ErrorCode::kNone) return;
    if (open.newest_at_send > open.generation) throw Violation("a commit of a former generation was taken");
    check_fenced(open, error);
    see(open, open.offset);
  }
  void see(const Open& open, int64_t offset) {
    int64_t& seen = seen_[{open.group, open.partition}];
    seen = std::max(seen, offset);
  }

  void on_fetched(const Open& open, const OffsetFetchResult& fetched) {
    if (fetched.error != ErrorCode::kNone) return;
    const int64_t offset = fetched.topics.at(0).partitions.at(0).offset;
    if (offset < open.at_least) throw Violation("a position went back");
    if (offset >= 0) see(open, offset);
  }

  void check() override {
    deliver();
    remember_former_ids();
    machine().for_each_group(
        [&](const std::string&, const GroupOffsets&, const ClassicGroup& group) { check_group(group); });
    check_open();
    if (chance(10)) check_replay();
  }

  // Ids that a later process with the same instance has replaced, as its clients know.
  void remember_former_ids() {
    machine().for_each_group([&](const std::string&, const GroupOffsets&, const ClassicGroup& group) {
      for (const auto& [id, member] : group.members()) {
        if (!member->instance) continue;
        std::string& current = current_ids_[*member->instance];
        if (!current.empty() && current != id) former_ids_[*member->instance].insert(current);
        former_ids_[*member->instance].erase(id);
        current = id;
      }
    });
  }

  static void check_group(const ClassicGroup& group) {
    size_t awaiting = 0;
    size_t statics = 0;
    for (const auto& [id, member] : group.members()) {
      awaiting += member->join_ticket.has_value();
      statics += member->is_static();
      if (id != member->id) throw Violation("a member is kept under another's id");
      if (member->is_static() && group.find_static(*member->instance) != member.get())
        throw Violation("instance lost");
      if (member->sync_ticket && group.state == GroupState::kStable)
        throw Violation("a sync waits in a stable group");
      const bool waits = member->join_ticket || member->sync_ticket;
      if (!waits && !member->session.armed()) throw Violation("a member without a session");
    }
    if (awaiting != group.awaiting_join() || statics != group.static_count())
      throw Violation("miscounted members");
    if ((group.state == GroupState::kEmpty) && !group.members().empty())
      throw Violation("an empty group has members");
    if (!group.members().empty() && (!group.leader || !group.find(*group.leader)))
      throw Violation("no leader");
    if (group.state == GroupState::kPreparingRebalance && !group.join_timer.armed())
      throw Violation("no join deadline");
  }

  // The log says all that has to survive.
  void check_replay() {
    GroupCoordinator replayed(GroupSettings{}, [] { return Uuid{}; });
    for (size_t i = 0; i < log().size(); ++i) replayed.replay(log()[i], static_cast<int64_t>(i));
    using Positions = std::map<std::pair<std::string, int32_t>, CommittedOffset>;
    std::map<std::string, std::pair<Positions, std::optional<StoredGroup>>> live;
    const auto collect = [](auto& into) {
      return [&into](const std::string& id, const GroupOffsets& offsets, const ClassicGroup& group) {
        const bool settled = group.state == GroupState::kStable || group.state == GroupState::kEmpty;
        std::optional<StoredGroup> stored;
        if (settled) stored = group.stored();
        if (stored) stored->state_timestamp_ms = 0;
        Positions positions;
        offsets.for_each([&](std::string_view topic, int32_t partition, const CommittedOffset& offset) {
          positions[{std::string(topic), partition}] = offset;
        });
        into[id] = {std::move(positions), stored};
      };
    };
    machine().for_each_group(collect(live));
    auto again = live;
    again.clear();
    replayed.for_each_group(collect(again));
    if (live.size() != again.size()) throw Violation("replay gives other groups");
    for (const auto& [id, state] : live) {
      if (again.at(id).first != state.first) throw Violation("replay gives other positions");
      const bool stored = state.second && !unstored_.contains(id);
      if (stored && again.at(id).second != state.second) throw Violation("replay gives other members");
    }
  }

  // Nothing fails any more and everybody takes part: each request is answered, and every partition has its
  // owner.
  void settle() override {
    mend();
    for (Client& client : clients_) client.stalled = false;
    for (int i = 0; i < 400; ++i) {
      make_durable();
      for (size_t c = 0; c < clients_.size(); ++c) {
        if (clients_[c].phase == Phase::kOut) join(c, clients_[c]);
        if (clients_[c].phase == Phase::kIn) heartbeat(c, clients_[c]);
      }
      make_durable();
      advance(2'000);
      check();
    }
    check_nothing_open();
    for (const std::string group : {"even", "odd"}) {
      std::multiset<int> owned;
      for (const Client& client : clients_) {
        if (client.group == group && client.phase == Phase::kIn)
          owned.insert(client.owned.begin(), client.owned.end());
      }
      if (owned.size() != kPartitions || std::set(owned.begin(), owned.end()).size() != kPartitions) {
        throw Violation("the group does not converge");
      }
    }
  }

  const Fault fault_;
  std::set<std::string> unstored_;
  std::map<std::string, std::vector<size_t>> deletions_;  // of groups, by their offsets in the log
  std::vector<Client> clients_;
  std::vector<std::pair<size_t, Client>> ghosts_;
  int64_t next_offset_ = 0;
  std::map<std::pair<std::string, int>, int64_t> seen_;
  std::map<std::string, int32_t> newest_generation_;
  std::map<std::tuple<std::string, int32_t, int>, std::string> owners_;
  std::map<std::string, std::string> static_ids_;
  std::map<std::string, std::string> current_ids_;
  std::map<std::string, std::set<std::string>> former_ids_;
};

}  // namespace millrace::coordinator
