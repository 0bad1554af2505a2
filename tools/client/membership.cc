#include "tools/client/membership.h"

#include <fmt/format.h>

#include <algorithm>
#include <random>

#include "protocol/messages/consumer_group_heartbeat.h"
#include "tools/client/refusal.h"

namespace millrace::tools {
namespace {

using protocol::ConsumerGroupHeartbeatRequest;
using protocol::ConsumerGroupHeartbeatResponse;

constexpr int32_t kLeaves = -1;
// A static member will be back.
constexpr int32_t kStaticLeaves = -2;
// How long the coordinator waits for partitions that it wants back. They are given back between two records.
constexpr int32_t kRebalanceTimeoutMs = 60'000;
// How often it is asked whether another member's session has ended.
constexpr int64_t kInstanceRetryMs = 1'000;

std::string random_member_id() {
  std::random_device device;
  const auto word = [&] { return uint64_t{device()} << 32 | device(); };
  const uint64_t high = word();
  return Uuid::from_random(high, word()).to_string();
}

ErrorCode error_of(const ConsumerGroupHeartbeatResponse& answer) { return answer.error_code; }

}  // namespace

Membership::Membership(Cluster& cluster, std::string group, TopicInfo topic,
                       std::optional<std::string> instance)
    : cluster_(cluster),
      group_(std::move(group)),
      topic_(std::move(topic)),
      instance_(std::move(instance)),
      member_id_(random_member_id()) {}

void Membership::forget() {
  epoch_ = 0;
  assigned_.clear();
  hurry();
}

const std::set<int32_t>& Membership::assigned() const {
  static const std::set<int32_t> none;
  const auto found = assigned_.find(topic_.id);
  return found == assigned_.end() ? none : found->second;
}

bool Membership::assigns_another_topic() const {
  return std::ranges::any_of(assigned_,
                             [&](const auto& one) { return one.first != topic_.id && !one.second.empty(); });
}

Result<void> Membership::heartbeat(const std::set<int32_t>& owned) {
  using Owned = ConsumerGroupHeartbeatRequest::TopicPartition;
  std::vector<int32_t> partitions(owned.begin(), owned.end());
  std::vector<Owned> topics(owned.empty() ? 0 : 1);
  if (!topics.empty()) topics[0] = {topic_.id, partitions};
  std::vector<std::string_view> names = {topic_.name};
  ConsumerGroupHeartbeatRequest request;
  request.group_id = group_;
  request.member_id = member_id_;
  request.member_epoch = epoch_;
  if (instance_) request.instance_id = *instance_;
  request.rebalance_timeout_ms = kRebalanceTimeoutMs;
  request.subscribed_topic_names = Array<std::string_view>(names);
  request.topic_partitions = Array<Owned>(topics);
  auto reply = call_coordinator<ConsumerGroupHeartbeatResponse>(cluster_, group_, request, error_of);
  if (!reply && reply.error().code == ErrorCode::kUnsupportedVersion) {
    return fail(ErrorCode::kUnsupportedVersion,
                reply.error().message + "; members need the consumer protocol: Apache Kafka 4.0 or later");
  }
  if (!reply) return std::unexpected(reply.error());
  const ConsumerGroupHeartbeatResponse& answer = reply->message;
  if (instance_ && answer.error_code == ErrorCode::kUnreleasedInstanceId) {
    next_ = Deadline::after_ms(kInstanceRetryMs);
    return fail(answer.error_code,
                fmt::format("another member is instance \"{}\" (millrace group describe {} shows it)",
                            *instance_, group_));
  }
  if (answer.error_code != ErrorCode::kNone) return refused(answer.error_code, answer.error_message);
  if (answer.member_id && !answer.member_id->empty()) member_id_ = *answer.member_id;
  epoch_ = answer.member_epoch;
  next_ = Deadline::after_ms(answer.heartbeat_interval_ms);
  if (!answer.assignment) return {};
  assigned_.clear();
  for (const auto& topic : answer.assignment->topic_partitions)
    assigned_[topic.topic_id].insert(topic.partitions.begin(), topic.partitions.end());
  return {};
}

Result<void> Membership::leave() {
  if (epoch_ == 0) return {};
  ConsumerGroupHeartbeatRequest request;
  request.group_id = group_;
  request.member_id = member_id_;
  request.member_epoch = instance_ ? kStaticLeaves : kLeaves;
  if (instance_) request.instance_id = *instance_;
  forget();
  auto reply = call_coordinator<ConsumerGroupHeartbeatResponse>(cluster_, group_, request, error_of);
  if (!reply) return std::unexpected(reply.error());
  if (reply->message.error_code != ErrorCode::kNone)
    return refused(reply->message.error_code, reply->message.error_message);
  return {};
}

}  // namespace millrace::tools
