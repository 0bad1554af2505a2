// ConsumerGroupHeartbeat (KIP-848): 1 subscribes by regular expression, and the client makes the member id
// (KIP-1082). ConsumerGroupDescribe: 1 tells classic members (KIP-1099).
#include <fmt/format.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/api/answer_limit.h"
#include "broker/api/endpoints.h"
#include "broker/api/handlers.h"
#include "broker/coordinator/group_partitioning.h"
#include "broker/coordinator/group_service.h"
#include "broker/metadata/topic_config.h"
#include "protocol/messages/consumer_group_describe.h"
#include "protocol/messages/consumer_group_heartbeat.h"

namespace millrace::api {
namespace {

using coordinator::GroupRequest;
using protocol::ConsumerGroupDescribeRequest;
using protocol::ConsumerGroupDescribeResponse;
using protocol::ConsumerGroupHeartbeatRequest;
using protocol::ConsumerGroupHeartbeatResponse;
using DescribedGroup = ConsumerGroupDescribeResponse::Group;

constexpr int16_t kClientMakesMemberId = 1;
constexpr int16_t kDescribesMemberType = 1;
constexpr int8_t kClassicMember = 0;
constexpr int8_t kConsumerMember = 1;
constexpr size_t kSmallSubscriptionBytes = 64 * 1024;  // fits anyway

// Whether the names fit into a record of __consumer_offsets, before they are looked at one by one. The error
// is Kafka's for what its log refuses.
Result<> check_subscription_size(const Context& context, const ConsumerGroupHeartbeatRequest& request) {
  size_t bytes = 0;
  for (size_t i = 0; request.subscribed_topic_names && i < request.subscribed_topic_names->size(); ++i)
    bytes += sizeof(int16_t) + (*request.subscribed_topic_names)[i].size();
  if (bytes <= kSmallSubscriptionBytes) return {};
  const metadata::TopicPtr topic = context.image()->topic(coordinator::kOffsetsTopic);
  if (!topic) return {};
  const auto config = metadata::topic_config(context.services.static_config, *context.image(),
                                             context.services.node_id, *topic);
  if (std::cmp_less_equal(bytes, config.log.max_message_bytes)) return {};
  return fail(
      ErrorCode::kUnknownServerError,
      fmt::format("SubscribedTopicNames takes {} bytes, more than a record of {} may have ({}). Subscribe "
                  "by a regular expression, or raise max.message.bytes of that topic.",
                  bytes, coordinator::kOffsetsTopic, config.log.max_message_bytes));
}

coordinator::ConsumerHeartbeat to_heartbeat(const Context& context,
                                            const ConsumerGroupHeartbeatRequest& request,
                                            std::string_view client_host) {
  coordinator::ConsumerHeartbeat heartbeat;
  heartbeat.group = request.group_id;
  heartbeat.member = request.member_id;
  heartbeat.epoch = request.member_epoch;
  heartbeat.instance = request.instance_id;
  heartbeat.rack = request.rack_id;
  heartbeat.rebalance_timeout_ms = request.rebalance_timeout_ms;
  if (request.subscribed_topic_names)
    heartbeat.topics.emplace(request.subscribed_topic_names->begin(), request.subscribed_topic_names->end());
  heartbeat.regex = request.subscribed_topic_regex;
  heartbeat.assignor = request.server_assignor;
  if (request.topic_partitions) {
    auto& owned = heartbeat.owned.emplace();
    for (const auto& topic : *request.topic_partitions) {
      if (!topic.partitions.empty())
        owned[topic.topic_id].insert(topic.partitions.begin(), topic.partitions.end());
    }
  }
  heartbeat.client_id = context.client_id.value_or("");
  heartbeat.client_host = client_host;
  heartbeat.makes_member_id = context.version < kClientMakesMemberId;
  return heartbeat;
}

ConsumerGroupDescribeResponse::Assignment to_assignment(
    Context& context, const std::vector<coordinator::DescribeConsumerGroupResult::Topic>& topics) {
  ConsumerGroupDescribeResponse::Assignment assignment;
  assignment.topic_partitions =
      context.arena.make_array<ConsumerGroupDescribeResponse::TopicPartitions>(topics.size());
  for (size_t i = 0; i < topics.size(); ++i) {
    assignment.topic_partitions[i].topic_id = topics[i].id;
    assignment.topic_partitions[i].topic_name = context.text(topics[i].name);
    assignment.topic_partitions[i].partitions = context.arena.copy(topics[i].partitions);
  }
  return assignment;
}

void fill(Context& context, const coordinator::DescribeConsumerGroupResult::Member& from,
          DescribedGroup::Member& member) {
  member.member_id = context.text(from.member);
  member.instance_id = context.nullable(from.instance);
  member.rack_id = context.nullable(from.rack);
  member.member_epoch = from.epoch;
  member.client_id = context.text(from.client_id);
  member.client_host = context.text(from.client_host);
  member.subscribed_topic_names = context.arena.make_array<std::string_view>(from.topics.size());
  for (size_t i = 0; i < from.topics.size(); ++i)
    member.subscribed_topic_names[i] = context.text(from.topics[i]);
  member.subscribed_topic_regex = context.text(from.regex);
  member.assignment = to_assignment(context, from.assigned);
  member.target_assignment = to_assignment(context, from.target);
  if (context.version >= kDescribesMemberType)
    member.member_type = from.is_classic ? kClassicMember : kConsumerMember;
}

Task<> describe(Context& context, const ConsumerGroupDescribeRequest& request, DescribedGroup& group) {
  if (group.group_id.empty()) {
    group.error_code = ErrorCode::kInvalidGroupId;
    co_return;
  }
  const GroupRequest asked = coordinator::DescribeConsumerGroup{group.group_id};
  const auto answered = co_await context.services.groups->handle(asked);
  const auto& result = std::get<coordinator::DescribeConsumerGroupResult>(answered);
  group.error_code = result.error.code;
  group.error_message = context.message(result.error.message);
  if (result.error.code != ErrorCode::kNone) co_return;
  group.group_state = context.text(result.state);
  group.group_epoch = result.epoch;
  group.assignment_epoch = result.target_epoch;
  group.assignor_name = context.text(result.assignor);
  group.members = context.arena.make_array<DescribedGroup::Member>(result.members.size());
  for (size_t m = 0; m < result.members.size(); ++m) fill(context, result.members[m], group.members[m]);
  if (request.include_authorized_operations) group.authorized_operations = kAllGroupOperations;
}

}  // namespace

Task<> consumer_group_heartbeat(Context& context, const ConsumerGroupHeartbeatRequest& request,
                                ConsumerGroupHeartbeatResponse& response) {
  if (const auto fits = check_subscription_size(context, request); !fits) {
    response.error_code = fits.error().code;
    response.error_message = context.message(fits.error().message);
    co_return;
  }
  const std::string client_host = "/" + context.request.connection->client_host;  // as Java prints an address
  const GroupRequest asked = to_heartbeat(context, request, client_host);
  const auto answered = co_await context.services.groups->handle(asked);
  const auto& result = std::get<coordinator::ConsumerHeartbeatResult>(answered);
  response.error_code = result.error.code;
  if (result.error.code != ErrorCode::kNone) {
    response.error_message = context.message(result.error.message);
    co_return;
  }
  response.member_id = context.text(result.member);
  response.member_epoch = result.epoch;
  response.heartbeat_interval_ms = result.heartbeat_interval_ms;
  if (!result.assignment) co_return;
  std::vector<ConsumerGroupHeartbeatResponse::TopicPartitions> topics;
  for (const auto& [id, partitions] : *result.assignment) {
    const std::vector<int32_t> numbers(partitions.begin(), partitions.end());
    topics.push_back({id, context.arena.copy(numbers)});
  }
  response.assignment.emplace().topic_partitions = context.arena.copy(topics);
}

Task<> consumer_group_describe(Context& context, const ConsumerGroupDescribeRequest& request,
                               ConsumerGroupDescribeResponse& response) {
  const std::vector<std::string_view> names = named_once(request.group_ids);
  response.groups = context.arena.make_array<DescribedGroup>(names.size());
  for (size_t i = 0; i < names.size(); ++i) response.groups[i].group_id = names[i];
  const auto answer = [&](size_t i) { return describe(context, request, response.groups[i]); };
  const auto refuse = [&](size_t i) {
    response.groups[i].error_code = AnswerLimit::kError;
    response.groups[i].error_message = AnswerLimit::kMessage;
  };
  co_await answer_within_limit(context, names.size(), answer, refuse);
}

}  // namespace millrace::api
