// The consumer protocol (KIP-848): heartbeats alone. As Kafka's own consumer does, a member says at once that
// it has given up or taken what it was told to, and otherwise waits for its next heartbeat.
#include <fmt/format.h>

#include <algorithm>

#include "protocol/messages/consumer_group_heartbeat.h"
#include "protocol/uuid.h"
#include "tests/bench/rebalance.h"

namespace millrace::bench {
namespace {

using protocol::ConsumerGroupHeartbeatRequest;
using protocol::ConsumerGroupHeartbeatResponse;

constexpr int16_t kVersion = 1;
constexpr int32_t kRebalanceTimeout_ms = 300'000;
constexpr int32_t kLeavingEpoch = -1;

class ConsumerRebalance final : public Rebalance {
 public:
  using Rebalance::Rebalance;

 private:
  void join(Member& member) override {
    member.in_group = true;
    member.id = fmt::format("{}-{}", options().group, next_id_++);
    member.epoch = 0;
    member.partitions.clear();
    say(member, Request::kJoin, true);
  }

  void leave(Member& member) override {
    member.epoch = kLeavingEpoch;
    say(member, Request::kLeave, false);
  }

  void heartbeat(Member& member) override { say(member, Request::kHeartbeat, false); }

  void say(Member& member, Request kind, bool owned) {
    Arena arena;
    ConsumerGroupHeartbeatRequest request;
    request.group_id = options().group;
    request.member_id = member.id;
    request.member_epoch = member.epoch;
    const std::vector<std::string_view> topics{options().topic};
    if (kind == Request::kJoin) {
      request.rebalance_timeout_ms = kRebalanceTimeout_ms;
      request.subscribed_topic_names = arena.copy(topics);
    }
    if (owned) {
      request.topic_partitions.emplace();
      if (!member.partitions.empty()) {
        request.topic_partitions = arena.make_array<ConsumerGroupHeartbeatRequest::TopicPartition>(1);
        (*request.topic_partitions)[0] = {topic_id_, arena.copy(member.partitions)};
      }
    }
    send(member, kind, request, kVersion);
  }

  void take(Member& member, Request request, Bytes response) override {
    Arena arena;
    const auto answer = decode_response<ConsumerGroupHeartbeatResponse>(response, kVersion, arena);
    check(answer.error_code);
    if (request == Request::kLeave) {
      left(member);
      return all_heartbeat(now_ns());
    }
    member.epoch = answer.member_epoch;
    member.settled = true;
    const int64_t server_ms = answer.heartbeat_interval_ms;
    const int64_t cap_ms = options().heartbeat_ms;
    member.due_ns = now_ns() + (cap_ms > 0 ? std::min(cap_ms, server_ms) : server_ms) * 1'000'000;
    if (request == Request::kJoin && !starting()) {
      const int64_t own_ns = member.due_ns;
      all_heartbeat(now_ns());
      member.due_ns = own_ns;
    }
    if (!answer.assignment) return;
    std::vector<int32_t> assigned;
    for (const auto& topic : answer.assignment->topic_partitions) {
      topic_id_ = topic.topic_id;
      assigned.insert(assigned.end(), topic.partitions.begin(), topic.partitions.end());
    }
    if (assigned == member.partitions) return;
    member.partitions = std::move(assigned);
    say(member, Request::kHeartbeat, true);
  }

  Uuid topic_id_;
  int next_id_ = 0;
};

}  // namespace

RebalanceResult run_consumer_rebalance(const RebalanceOptions& options) {
  return ConsumerRebalance(options).run();
}

}  // namespace millrace::bench
