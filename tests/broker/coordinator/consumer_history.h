// A random history of consumer groups (KIP-848) and the clients around them: members of both protocols that
// join, revoke at their own pace, stall, lose answers, leave and come back; topics that come, grow and go; a
// log that fails or commits late; a broker that stops or loses what was not committed. Everything follows
// from the seed. After every step it is checked what must hold in any history; what doesn't throws Violation.
//
// A Fault makes the coordinator look wrong from outside, the way a missing check would, so that a test can
// show that the checks notice.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "broker/coordinator/consumer_subscription.h"
#include "broker/coordinator/group_coordinator.h"
#include "protocol/arena.h"
#include "protocol/messages/consumer_protocol_record.h"
#include "protocol/topic_partition.h"
#include "protocol/writer.h"
#include "tests/broker/coordinator/history.h"
#include "tests/broker/coordinator/test_topics.h"

namespace millrace::coordinator {

enum class ConsumerFault {
  kNone,
  kEarlyAnswer,        // heartbeats are answered before their records are committed
  kLostAnswer,         // now and then an answer is never given
  kLostRecord,         // a record doesn't reach the log
  kPartitionTooEarly,  // a member is told of partitions that another has not given up
  kEpochGoesBack,      // a member is told a former epoch
  kNoSessionTimeouts,  // deadlines are not met
  kStaleTopics,        // changes of topics are not noticed
  kStaleCommits,       // commits of former owners are taken
  kNoFencing,          // members that were removed go on as before
};

struct OpenConsumerRequest : OpenRequest {
  // Of commits.
  bool stale = false;
  TopicIdPartition partition;
  int64_t offset = -1;
};

class ConsumerHistory final : public History<OpenConsumerRequest> {
 public:
  ConsumerHistory(uint64_t seed, ConsumerFault fault)
      : History(seed, settings(seed),
                {.early_answers = fault == ConsumerFault::kEarlyAnswer,
                 .lost_answers = fault == ConsumerFault::kLostAnswer,
                 .no_deadlines = fault == ConsumerFault::kNoSessionTimeouts}),
        fault_(fault),
        settles_(static_cast<Settles>(seed / 2 % 3)) {
    for (int i = 0; i < kClients; ++i) {
      Client client;
      client.group = i % 2 == 0 ? "even" : "odd";
      client.number = i;
      if (i % 3 == 0) client.instance = "instance-" + std::to_string(i);
      clients_.push_back(client);
    }
    change_topic("t0", 4);
    change_topic("t1", 3);
    start();
  }

  int64_t migrations() const { return migrations_; }

 private:
  using Open = OpenConsumerRequest;
  // By which protocol everybody takes part in the end: classic members may stay beside the others.
  enum class Settles { kModern, kMixed, kClassic };
  static constexpr int kClients = 8;
  static constexpr int kSettlingRounds = 60;
  static constexpr int64_t kAnswerBoundMs = 200'000;
  static constexpr int64_t kClassicAnswerBoundMs = 420'000;  // see GroupHistory

  // What a client believes. It owns what it was told, until it is told otherwise and has let go.
  struct Client {
    std::string group;
    int number = 0;
    std::optional<std::string> instance;
    bool classic = false;
    std::string member;
    int32_t epoch = 0;
    bool in = false;
    bool full = false;  // says everything with its next heartbeat, after an error
    bool stalled = false;
    std::set<std::string> topics = {"t0"};
    std::string regex;
    std::string assignor;
    Assignment owned;                  // reads these
    std::optional<Assignment> wanted;  // is on its way to these
    std::optional<uint64_t> ticket;
    bool synced = true;  // classic: has its assignment
  };
  static GroupSettings settings(uint64_t seed) {
    constexpr MigrationPolicy kPolicies[] = {MigrationPolicy::kBidirectional, MigrationPolicy::kBidirectional,
                                             MigrationPolicy::kUpgrade, MigrationPolicy::kDowngrade,
                                             MigrationPolicy::kDisabled};
    GroupSettings settings;
    settings.consumer_migration_policy = kPolicies[seed % std::size(kPolicies)];
    settings.consumer_max_size = 6;
    settings.initial_rebalance_delay_ms = 500;
    return settings;
  }

  void prepare(GroupCoordinator& machine) override {
    machine.topics_changed(std::make_shared<TestTopics>(topics_, version_), std::nullopt);
  }

  void change_topic(const std::string& name, int32_t partitions) {
    const auto known = topics_.find(name);
    if (partitions == 0) {
      if (known == topics_.end()) return;
      gone_.insert(known->second.id);
      topics_.erase(known);
    } else if (known == topics_.end()) {
      topics_[name] = {Uuid::from_random(random(), 9), partitions};
    } else {
      known->second.partitions = std::max(known->second.partitions, partitions);
    }
    ++version_;
    if (!started()) return;
    std::vector<std::string_view> changed = {name};
    if (fault_ == ConsumerFault::kStaleTopics) changed.clear();
    append_held();
    machine().topics_changed(std::make_shared<TestTopics>(topics_, version_), changed);
  }

  void step() override {
    if (trouble({.advance = 40, .far = 5, .far_ms = 40'000, .durable = 50})) return;
    if (chance(2))
      change_topic("t" + std::to_string(below(4)), chance(20) ? 0 : static_cast<int32_t>(1 + below(6)));
    const size_t i = below(clients_.size());
    Client& client = clients_[i];
    if (chance(2)) client.stalled = true;
    if (chance(20)) client.stalled = false;
    if (client.stalled) return;
    client.ticket ? wait(client) : act(i, client);
  }

  // It gives up waiting for an answer now and then, and doesn't know what became of its request.
  void wait(Client& client) {
    if (!chance(3)) return;
    client.ticket.reset();
    client.full = true;
  }

  void act(size_t i, Client& client) {
    if (!client.in) return join(i, client);
    if (chance(2)) return leave(i, client);
    if (chance(1)) return vanish(client);
    if (chance(2)) return change_subscription(i, client);
    if (client.wanted && chance(60)) client.owned = std::exchange(client.wanted, {}).value();
    if (chance(20) && !client.owned.empty()) return commit(i, client);
    if (client.classic) return client.synced ? classic_heartbeat(i, client) : sync(i, client);
    heartbeat(i, client);
  }

  void vanish(Client& client) {
    client.in = false;
    client.owned.clear();
    client.wanted.reset();
    client.member.clear();
  }

  void choose_subscription(Client& client) {
    client.topics = {"t" + std::to_string(below(4))};
    if (chance(70)) client.topics.insert("t0");
    client.regex = !client.classic && chance(20) ? (chance(50) ? "t[01]" : "t.*") : "";
    client.assignor = chance(30) ? "range" : "uniform";
  }

  void change_subscription(size_t i, Client& client) {
    choose_subscription(client);
    if (client.classic) return classic_join(i, client);
    client.full = true;
    heartbeat(i, client);
  }

  void join(size_t i, Client& client) {
    client.classic = chance(mode_ == 0 ? 30 : mode_ == 1 ? 0 : 100);
    choose_subscription(client);
    client.owned.clear();
    client.wanted.reset();
    client.epoch = 0;
    if (client.classic) return classic_join(i, client);
    if (client.member.empty()) client.member = "member-" + std::to_string(++members_);
    client.full = true;
    heartbeat(i, client);
  }

  void heartbeat(size_t i, Client& client) {
    ConsumerHeartbeat request;
    request.group = client.group;
    request.member = client.member;
    request.epoch = client.epoch;
    request.instance = client.instance;
    request.client_id = "client";
    if (client.full) {
      request.rebalance_timeout_ms = 20'000;
      request.topics.emplace(client.topics.begin(), client.topics.end());
      request.regex = client.regex;
      request.assignor = client.assignor;
    }
    if (client.full || chance(70)) request.owned = client.owned;
    client.full = false;
    send(i, request, true);
  }

  void leave(size_t i, Client& client) {
    if (client.classic) {
      send(i, LeaveGroup{client.group, {{client.member, client.instance, {}}}}, false);
      return vanish(client);
    }
    ConsumerHeartbeat request;
    request.group = client.group;
    request.member = client.member;
    request.epoch = client.instance && chance(70) ? kStaticLeavingEpoch : kLeavingEpoch;
    request.instance = client.instance;
    send(i, request, false);
    vanish(client);
  }

  Buffer subscription(const Client& client) {
    using protocol::ConsumerProtocolSubscription;
    Arena arena;
    std::vector<std::string_view> topics(client.topics.begin(), client.topics.end());
    std::vector<ConsumerProtocolSubscription::TopicPartition> owned;
    for (const auto& [id, partitions] : client.owned) {
      const TestTopics topics(topics_, version_);
      const auto topic = topics.find(id);
      if (!topic) continue;
      const std::string& name = topics_.find(topic->name)->first;
      owned.push_back({name, arena.copy(std::vector<int32_t>(partitions.begin(), partitions.end()))});
    }
    ConsumerProtocolSubscription message;
    message.topics = topics;
    message.owned_partitions = owned;
    protocol::Writer writer;
    writer.integer(int16_t{3});
    static_cast<void>(encode(message, 3, writer));
    return writer.take();
  }

  void classic_join(size_t i, Client& client) {
    const Buffer metadata = subscription(client);
    JoinGroup request;
    request.group = client.group;
    request.member = client.member;
    request.instance = client.instance;
    request.protocol_type = "consumer";
    request.protocols = {{"range", metadata}};
    request.session_timeout_ms = 10'000;
    request.rebalance_timeout_ms = 20'000;
    request.client_id = "client";
    request.member_id_required = !client.instance;
    client.synced = false;
    send(i, request, true);
  }

  void sync(size_t i, Client& client) {
    SyncGroup request;
    request.group = client.group;
    request.member = client.member;
    request.instance = client.instance;
    request.generation = client.epoch;
    // As leader of a classic group: everything to itself is as good an assignment as any.
    std::vector<Buffer> assignments;
    for (const auto& [member, topics] : to_assign_) {
      std::map<std::string, std::vector<int32_t>> partitions;
      for (const auto& [topic, numbers] : topics) partitions[topic] = numbers;
      assignments.push_back(write_assignment(1, partitions));
    }
    size_t next = 0;
    if (leader_ == client.member) {
      for (const auto& [member, topics] : to_assign_)
        request.assignments.push_back({member, assignments[next++]});
    }
    send(i, request, true);
  }

  void classic_heartbeat(size_t i, Client& client) {
    send(i, Heartbeat{client.group, client.member, client.instance, client.epoch}, true);
  }

  void commit(size_t i, Client& client) {
    const auto topic = std::next(client.owned.begin(), static_cast<long>(below(client.owned.size())));
    const int32_t partition =
        *std::next(topic->second.begin(), static_cast<long>(below(topic->second.size())));
    const TestTopics topics(topics_, version_);
    const auto known = topics.find(topic->first);
    if (!known) return;
    const std::string name(known->name);
    OffsetCommit request;
    request.group = client.group;
    request.member = client.member;
    request.instance = client.instance;
    request.generation = client.epoch;
    request.reports_missing_group = true;
    Open open;
    open.partition = {topic->first, partition};
    open.offset = ++next_offset_;
    // Somebody else owns it by now: whoever commits it without knowing must be told.
    if (const ConsumerGroup* group = find(client.group)) {
      const ConsumerMember* owner = group->owner(topic->first, partition);
      open.stale = owner == nullptr || owner->id != client.member;
      if (fault_ == ConsumerFault::kStaleCommits && owner != nullptr) {
        former_ = owner->id;
        request.member = former_;
        request.generation = owner->assignment.epoch;
      }
    }
    request.topics = {{name, topic->first, {{partition, open.offset, -1, {}}}}};
    send(i, request, false, open);
  }

  void send(size_t i, const GroupRequest& request, bool awaited) { send(i, request, awaited, Open{}); }
  void send(size_t i, const GroupRequest& request, bool awaited, Open open) {
    const bool classic =
        std::holds_alternative<JoinGroup>(request) || std::holds_alternative<SyncGroup>(request);
    open.bound_ms = classic ? kClassicAnswerBoundMs : kAnswerBoundMs;
    const uint64_t ticket = open_ticket(i, request, open);
    if (awaited) clients_[i].ticket = ticket;
    History::send(ticket, request);
  }

  void logged(const Write& write) override {
    if (fault_ == ConsumerFault::kLostRecord && chance(5)) log().back() = ConsumerGroupTopicsRecord{"none"};
    const bool migrates = std::ranges::any_of(write.records, [&](const GroupRecord& record) {
      const auto* group = std::get_if<GroupMetadataRecord>(&record);
      if (group != nullptr) epochs_.erase(group->group);
      return group != nullptr && !group->value;
    });
    migrations_ += migrates && write.records.size() > 1;
  }

  void crashed() override { epochs_.clear(); }

  void receive(Answer& answer, const Open& open) override {
    Client& client = clients_[open.client];
    if (auto* committed = std::get_if<OffsetCommitResult>(&answer.response))
      return on_committed(open, client, committed->errors.at(0));
    if (client.ticket != answer.ticket) return;
    client.ticket.reset();
    if (auto* heartbeat = std::get_if<ConsumerHeartbeatResult>(&answer.response))
      on_heartbeat(client, *heartbeat);
    if (auto* joined = std::get_if<JoinGroupResult>(&answer.response))
      on_joined(open.client, client, *joined);
    if (auto* synced = std::get_if<SyncGroupResult>(&answer.response)) on_synced(client, *synced);
    if (auto* heartbeat = std::get_if<HeartbeatResult>(&answer.response))
      on_classic_heartbeat(open.client, client, heartbeat->error);
  }

  static bool is_passing(ErrorCode error) {
    return error == ErrorCode::kNotCoordinator || error == ErrorCode::kCoordinatorNotAvailable;
  }

  void on_heartbeat(Client& client, const ConsumerHeartbeatResult& result) {
    const ErrorCode error = result.error.code;
    if (is_passing(error)) {
      client.full = true;
      return;
    }
    if (error == ErrorCode::kFencedMemberEpoch && result.error.message.find("greater") != std::string::npos)
      throw Violation("a member was told of an epoch that is lost");
    if (error != ErrorCode::kNone) return fenced(client);
    int32_t epoch = result.epoch;
    if (fault_ == ConsumerFault::kEpochGoesBack && chance(3) && epoch > 1) --epoch;
    if (client.in && epoch < client.epoch) throw Violation("a member's epoch went back");
    if (epoch != client.epoch) client.epoch = epoch;
    client.in = true;
    if (!result.assignment) return;
    client.wanted = *result.assignment;
    if (fault_ == ConsumerFault::kPartitionTooEarly && chance(10) && !topics_.empty())
      (*client.wanted)[topics_.begin()->second.id] = {0, 1, 2};
    // It reads at once what is new and lets go of the rest when it is ready to.
    for (const auto& [topic, partitions] : *client.wanted) {
      for (const int32_t partition : partitions) client.owned[topic].insert(partition);
    }
  }

  void fenced(Client& client) {
    if (fault_ == ConsumerFault::kNoFencing) return;
    client.in = false;
    client.owned.clear();
    client.wanted.reset();
    if (client.instance || chance(50)) client.member.clear();
  }

  void on_joined(size_t i, Client& client, const JoinGroupResult& result) {
    if (result.error == ErrorCode::kMemberIdRequired) {
      client.member = result.member;
      return classic_join(i, client);
    }
    if (is_passing(result.error) || result.error == ErrorCode::kRebalanceInProgress) {
      client.in = false;
      client.owned.clear();
      return;
    }
    if (result.error != ErrorCode::kNone) {
      client.member.clear();
      return fenced(client);
    }
    client.member = result.member;
    client.epoch = result.generation;
    client.in = true;
    client.owned.clear();  // as eager assignors do
    client.wanted.reset();
    if (result.leader == client.member) {
      leader_ = client.member;
      to_assign_.clear();
      for (const auto& member : result.members) to_assign_[member.member];
      for (const auto& [name, topic] : topics_) {
        if (!client.topics.contains(name)) continue;
        for (int32_t p = 0; p < topic.partitions; ++p) to_assign_[client.member][name].push_back(p);
      }
    }
    sync(i, client);
  }

  void on_synced(Client& client, const SyncGroupResult& result) {
    if (result.error != ErrorCode::kNone) {
      client.in = false;
      client.owned.clear();
      if (result.error == ErrorCode::kUnknownMemberId || result.error == ErrorCode::kFencedInstanceId)
        client.member.clear();
      return;
    }
    client.synced = true;
    const auto assignment = read_assignment(result.assignment);
    if (!assignment) throw Violation("an assignment that can't be read");
    for (const NamedPartitions& named : assignment->partitions) {
      const auto topic = topics_.find(named.topic);
      if (topic == topics_.end()) continue;
      client.owned[topic->second.id].insert(named.partitions.begin(), named.partitions.end());
    }
    std::erase_if(client.owned, [](const auto& entry) { return entry.second.empty(); });
  }

  void on_classic_heartbeat(size_t i, Client& client, ErrorCode error) {
    if (error == ErrorCode::kNone || is_passing(error)) return;
    if (error == ErrorCode::kRebalanceInProgress) {
      ++rejoins_;
      client.owned.clear();
      return classic_join(i, client);
    }
    fenced(client);
  }

  void on_committed(const Open& open, const Client& client, ErrorCode error) {
    if (error != ErrorCode::kNone) return;
    if (open.stale) throw Violation("a commit of somebody who doesn't own the partition was taken");
    static_cast<void>(client);
  }

  const ConsumerGroup* find(const std::string& name) const {
    const ConsumerGroup* found = nullptr;
    machine().for_each_consumer_group(
        [&](const std::string& id, const GroupOffsets&, const ConsumerGroup& group) {
          if (id == name) found = &group;
        });
    return found;
  }

  void check() override {
    deliver();
    machine().for_each_consumer_group(
        [](const std::string&, const GroupOffsets&, const ConsumerGroup& group) { check_group(group); });
    check_epochs();
    check_owners();
    check_open();
    if (chance(10)) check_replay();
  }

  static void check_group(const ConsumerGroup& group) {
    std::map<TopicIdPartition, std::string> owners;
    for (const auto& [id, member] : group.members()) {
      if (id != member->id || !member->is_described) throw Violation("a member is kept under another's id");
      if (!member->session.armed()) throw Violation("a member without a session");
      if (member->assignment.epoch > group.target_epoch()) throw Violation("a member is ahead of its group");
      if (member->metadata.instance_id && group.find_static(*member->metadata.instance_id) != member.get())
        throw Violation("instance lost");
      for (const OwnedPartitions* owned :
           {&member->assignment.assigned, &member->assignment.pending_revocation}) {
        for (const auto& [topic, partitions] : *owned) {
          for (const auto& [partition, since] : partitions) {
            if (!owners.emplace(TopicIdPartition{topic, partition}, id).second)
              throw Violation("a partition has two owners");
            if (group.owner(topic, partition) != member.get()) throw Violation("an owner is not known");
          }
        }
      }
    }
    if (group.target_epoch() > group.epoch()) throw Violation("a target of a later epoch than the group's");
  }

  // As long as it is a consumer group and no crash takes back what nobody has been told.
  void check_epochs() {
    std::map<std::string, int32_t> now;
    machine().for_each_consumer_group([&](const std::string& id, const GroupOffsets&,
                                          const ConsumerGroup& group) { now[id] = group.epoch(); });
    for (const auto& [id, epoch] : now) {
      const auto before = epochs_.find(id);
      if (before != epochs_.end() && epoch < before->second) {
        throw Violation("the epoch of a group went back: " + id + " from " + std::to_string(before->second) +
                        " to " + std::to_string(epoch));
      }
    }
    epochs_ = std::move(now);
  }

  // Of the members that the coordinator still knows, no two read the same partition: seen from their side.
  void check_owners() {
    std::map<std::pair<std::string, TopicIdPartition>, const Client*> readers;
    for (const Client& client : clients_) {
      const ConsumerGroup* group = find(client.group);
      const ConsumerMember* member = group == nullptr ? nullptr : group->find(client.member);
      if (!client.in || member == nullptr || member->assignment.epoch < client.epoch) continue;
      if (client.classic || member->is_classic() || is_fenced(*member, client)) continue;
      for (const auto& [topic, partitions] : client.owned) {
        for (const int32_t partition : partitions) {
          const auto [other, fresh] =
              readers.emplace(std::pair(client.group, TopicIdPartition{topic, partition}), &client);
          if (!fresh) throw Violation("two members read one partition");
        }
      }
    }
  }

  // Another process has come in its place, or it has missed an epoch: it will hear so with its next
  // heartbeat.
  static bool is_fenced(const ConsumerMember& member, const Client& client) {
    return client.epoch != member.assignment.epoch && client.epoch != member.assignment.previous_epoch;
  }

  void check_replay() {
    GroupCoordinator replayed(GroupSettings{}, [] { return Uuid{}; });
    for (size_t i = 0; i < log().size(); ++i) replayed.replay(log()[i], static_cast<int64_t>(i));
    const auto state = [](const GroupCoordinator& machine) {
      std::map<std::string, std::string> text;
      machine.for_each_consumer_group([&](const std::string& id, const GroupOffsets&,
                                          const ConsumerGroup& group) { text[id] = print(group); });
      return text;
    };
    const auto live = state(machine());
    const auto again = state(replayed);
    for (const auto& [id, text] : live) {
      const auto found = again.find(id);
      if (found == again.end()) throw Violation("replay lacks group " + id + ": " + text);
      if (found->second != text)
        throw Violation("replay gives another state:\n" + text + "\nnow\n" + found->second);
    }
    if (live.size() != again.size()) throw Violation("replay gives other groups");
  }

  static std::string print(const ConsumerGroup& group) {
    std::string text = std::to_string(group.epoch()) + "/" + std::to_string(group.target_epoch()) + "/" +
                       std::to_string(group.metadata_hash());
    const auto add = [&](const OwnedPartitions& owned) {
      for (const auto& [topic, partitions] : owned) {
        text += " " + topic.to_string();
        for (const auto& [partition, since] : partitions)
          text += " " + std::to_string(partition) + "@" + std::to_string(since);
      }
    };
    for (const auto& [id, member] : group.members()) {
      text += "\n" + id + " " + std::to_string(member->assignment.epoch) + "<" +
              std::to_string(member->assignment.previous_epoch) + " " +
              std::to_string(static_cast<int>(member->assignment.state)) + " " + member->metadata.regex;
      for (const std::string& topic : member->metadata.topics) text += " " + topic;
      add(member->assignment.assigned);
      text += " -";
      add(member->assignment.pending_revocation);
      text += " ->";
      for (const auto& [topic, partitions] : member->target) {
        text += " " + topic.to_string();
        for (const int32_t partition : partitions) text += " " + std::to_string(partition);
      }
    }
    for (const auto& [regex, resolved] : group.regexes()) {
      text += "\n" + regex;
      for (const std::string& topic : resolved.topics) text += " " + topic;
    }
    return text;
  }

  // Nothing fails any more and everybody takes part: every partition that somebody subscribes to has its
  // owner, and nobody rejoins any more.
  void settle() override {
    mend();
    mode_ = settles_ == Settles::kClassic ? 2 : 1;
    for (Client& client : clients_) {
      client.stalled = false;
      const bool goes = client.classic ? settles_ == Settles::kModern : settles_ == Settles::kClassic;
      if (goes) vanish(client);
    }
    for (int i = 0; i < kSettlingRounds; ++i) {
      if (i == 40) change_topic("t0", 9);
      if (i == kSettlingRounds - 10) rejoins_ = 0;
      make_durable();
      for (size_t c = 0; c < clients_.size(); ++c) {
        Client& client = clients_[c];
        if (client.ticket) continue;
        if (client.wanted) client.owned = std::exchange(client.wanted, {}).value();
        if (!client.in) {
          join(c, client);
        } else if (client.classic) {
          client.synced ? classic_heartbeat(c, client) : sync(c, client);
        } else {
          heartbeat(c, client);
        }
      }
      make_durable();
      advance(2'000);
      check();
    }
    check_nothing_open();
    if (rejoins_ > 0) throw Violation("classic members rejoin without end");
    for (const std::string group : {"even", "odd"}) check_settled(group);
  }

  void check_settled(const std::string& name) {
    const ConsumerGroup* group = find(name);
    const auto stays_classic = [&](const Client& client) { return client.group == name && client.classic; };
    if (group == nullptr && std::ranges::any_of(clients_, stays_classic)) return;
    if (group == nullptr) throw Violation("no group");
    if (group->state_name() != "Stable") throw Violation("the group does not converge: " + print(*group));
    const TestTopics topics(topics_, version_);
    for (const auto& [topic, entry] : topics_) {
      if (!group->subscribes(topic)) continue;
      for (int32_t p = 0; p < entry.partitions; ++p) {
        if (group->owner(entry.id, p) == nullptr) throw Violation("a partition without an owner");
      }
    }
    for (const Client& client : clients_) {
      if (client.group != name || !client.in) continue;
      const ConsumerMember* member = group->find(client.member);
      if (member == nullptr) throw Violation("a member that heartbeats is lost");
      if (client.classic) continue;  // owns what its last sync said, of topics that are there
      Assignment assigned;
      for (const auto& [topic, partitions] : member->assignment.assigned) {
        for (const auto& [partition, since] : partitions) assigned[topic].insert(partition);
      }
      if (assigned != client.owned) throw Violation("a member doesn't own what it was assigned");
    }
  }

  const ConsumerFault fault_;
  const Settles settles_;
  int64_t rejoins_ = 0;  // that classic members were told to
  int mode_ = 0;         // which protocol those take that join: both, the consumer protocol, the classic one
  TestTopics::Entries topics_;
  std::set<Uuid> gone_;
  int64_t version_ = 1;
  std::vector<Client> clients_;
  uint64_t members_ = 0;
  int64_t next_offset_ = 0;
  int64_t migrations_ = 0;
  std::string former_;
  std::string leader_;
  std::map<std::string, std::map<std::string, std::vector<int32_t>>> to_assign_;
  std::map<std::string, int32_t> epochs_;
};

}  // namespace millrace::coordinator
