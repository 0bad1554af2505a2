// The classic protocol: join, sync, heartbeat; the leader divides the partitions.
#include <algorithm>

#include "protocol/messages/consumer_protocol_record.h"
#include "protocol/messages/heartbeat.h"
#include "protocol/messages/join_group.h"
#include "protocol/messages/leave_group.h"
#include "protocol/messages/sync_group.h"
#include "tests/bench/rebalance.h"

namespace millrace::bench {
namespace {

using protocol::ConsumerProtocolAssignment;
using protocol::ConsumerProtocolSubscription;
using protocol::HeartbeatRequest;
using protocol::HeartbeatResponse;
using protocol::JoinGroupRequest;
using protocol::JoinGroupResponse;
using protocol::LeaveGroupRequest;
using protocol::LeaveGroupResponse;
using protocol::SyncGroupRequest;
using protocol::SyncGroupResponse;

constexpr int16_t kJoinVersion = 9;
constexpr int16_t kSyncVersion = 5;
constexpr int16_t kHeartbeatVersion = 4;
constexpr int16_t kLeaveVersion = 5;
constexpr int16_t kFormatVersion = 1;  // of subscriptions and assignments
constexpr int32_t kSessionTimeout_ms = 45'000;
constexpr int32_t kRebalanceTimeout_ms = 300'000;
constexpr int64_t kHeartbeat_ms = 10;

template <class Message>
Buffer with_version(const Message& message) {
  protocol::Writer writer;
  writer.integer(kFormatVersion);
  if (!encode(message, kFormatVersion, writer)) throw std::runtime_error("encode");
  return writer.take();
}

class ClassicRebalance final : public Rebalance {
 public:
  explicit ClassicRebalance(const RebalanceOptions& options) : Rebalance(options) {
    Arena arena;
    const std::vector<std::string_view> topics{options.topic};
    ConsumerProtocolSubscription subscription;
    subscription.topics = arena.copy(topics);
    subscription_ = with_version(subscription);
    interval_ns_ = (options.heartbeat_ms > 0 ? options.heartbeat_ms : kHeartbeat_ms) * 1'000'000;
  }

 private:
  void join(Member& member) override {
    Arena arena;
    member.in_group = true;
    member.settled = false;
    JoinGroupRequest request;
    request.group_id = options().group;
    request.member_id = member.id;
    request.session_timeout_ms = kSessionTimeout_ms;
    request.rebalance_timeout_ms = kRebalanceTimeout_ms;
    request.protocol_type = "consumer";
    const std::vector<JoinGroupRequest::Protocol> protocols{{"range", subscription_}};
    request.protocols = arena.copy(protocols);
    send(member, Request::kJoin, request, kJoinVersion);
    if (!starting() && !member.id.empty()) all_heartbeat(now_ns() + 1'000'000);
  }

  void leave(Member& member) override {
    Arena arena;
    LeaveGroupRequest request;
    request.group_id = options().group;
    request.members = arena.make_array<LeaveGroupRequest::Member>(1);
    request.members[0].member_id = member.id;
    send(member, Request::kLeave, request, kLeaveVersion);
  }

  void heartbeat(Member& member) override {
    HeartbeatRequest request;
    request.group_id = options().group;
    request.member_id = member.id;
    request.generation_id = member.epoch;
    send(member, Request::kHeartbeat, request, kHeartbeatVersion);
  }

  void take(Member& member, Request request, Bytes response) override {
    Arena arena;
    switch (request) {
      case Request::kJoin:
        return joined(member, decode_response<JoinGroupResponse>(response, kJoinVersion, arena));
      case Request::kSync:
        return synced(member, decode_response<SyncGroupResponse>(response, kSyncVersion, arena));
      case Request::kHeartbeat: {
        const auto answer = decode_response<HeartbeatResponse>(response, kHeartbeatVersion, arena);
        if (must_join(member, answer.error_code)) return join(member);
        member.due_ns = now_ns() + interval_ns_;
        return;
      }
      case Request::kLeave:
        check(decode_response<LeaveGroupResponse>(response, kLeaveVersion, arena).error_code);
        left(member);
        return all_heartbeat(now_ns());
      case Request::kNone:
        throw std::runtime_error("an answer that nobody asked for");
    }
  }

  // Throws for what a member can't mend by joining again.
  static bool must_join(Member& member, ErrorCode error) {
    if (error == ErrorCode::kUnknownMemberId) member.id.clear();
    if (error == ErrorCode::kRebalanceInProgress || error == ErrorCode::kIllegalGeneration ||
        error == ErrorCode::kUnknownMemberId) {
      return true;
    }
    check(error);
    return false;
  }

  void joined(Member& member, const JoinGroupResponse& answer) {
    if (answer.error_code == ErrorCode::kMemberIdRequired) {
      member.id = std::string(answer.member_id);
      return join(member);
    }
    if (must_join(member, answer.error_code)) return join(member);
    member.id = std::string(answer.member_id);
    member.epoch = answer.generation_id;
    Arena arena;
    std::vector<Buffer> assignments;
    SyncGroupRequest request;
    request.group_id = options().group;
    request.member_id = member.id;
    request.generation_id = member.epoch;
    request.protocol_type = answer.protocol_type;
    request.protocol_name = answer.protocol_name;
    if (answer.leader == answer.member_id) request.assignments = divide(answer, assignments, arena);
    send(member, Request::kSync, request, kSyncVersion);
  }

  Array<SyncGroupRequest::Assignment> divide(const JoinGroupResponse& answer,
                                             std::vector<Buffer>& assignments, Arena& arena) const {
    const size_t members = answer.members.size();
    const auto total = static_cast<size_t>(options().partitions);
    std::vector<SyncGroupRequest::Assignment> parts;
    for (size_t i = 0; i < members; ++i) {
      std::vector<int32_t> numbers;
      for (size_t p = total * i / members; p < total * (i + 1) / members; ++p)
        numbers.push_back(static_cast<int32_t>(p));
      ConsumerProtocolAssignment assignment;
      assignment.assigned_partitions = arena.make_array<ConsumerProtocolAssignment::TopicPartition>(1);
      assignment.assigned_partitions[0] = {options().topic, arena.copy(numbers)};
      assignments.push_back(with_version(assignment));
      parts.push_back({arena.copy(answer.members[i].member_id), arena.copy(Bytes(assignments.back()))});
    }
    return arena.copy(parts);
  }

  void synced(Member& member, const SyncGroupResponse& answer) {
    if (must_join(member, answer.error_code)) return join(member);
    Arena arena;
    const auto assignment = protocol::decode<ConsumerProtocolAssignment>(
        answer.assignment.subspan(sizeof kFormatVersion), kFormatVersion, arena);
    if (!assignment) throw std::runtime_error(assignment.error().message);
    member.partitions.clear();
    for (const auto& topic : assignment->assigned_partitions)
      member.partitions.insert(member.partitions.end(), topic.partitions.begin(), topic.partitions.end());
    member.settled = true;
    member.due_ns = now_ns() + interval_ns_;
  }

  Buffer subscription_;
  int64_t interval_ns_ = 0;
};

}  // namespace

RebalanceResult run_classic_rebalance(const RebalanceOptions& options) {
  return ClassicRebalance(options).run();
}

}  // namespace millrace::bench
