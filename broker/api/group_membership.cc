// JoinGroup: 1 adds the rebalance timeout, 4 gives ids before the first join (KIP-394), 5 static members
// (KIP-345), 9 tells a leader to skip the assignment (KIP-814). SyncGroup, Heartbeat; LeaveGroup: 3 takes
// several members out. What each means is the group coordinator's; here it is translated.
#include <string>
#include <utility>

#include "broker/api/handlers.h"
#include "broker/coordinator/group_service.h"
#include "broker/coordinator/member_id.h"
#include "broker/runtime/rate_limited_log.h"
#include "protocol/messages/heartbeat.h"
#include "protocol/messages/join_group.h"
#include "protocol/messages/leave_group.h"
#include "protocol/messages/sync_group.h"
#include "protocol/utf8.h"

namespace millrace::api {
namespace {

using coordinator::GroupRequest;
using coordinator::JoinGroup;
using protocol::HeartbeatRequest;
using protocol::HeartbeatResponse;
using protocol::JoinGroupRequest;
using protocol::JoinGroupResponse;
using protocol::LeaveGroupRequest;
using protocol::LeaveGroupResponse;
using protocol::SyncGroupRequest;
using protocol::SyncGroupResponse;

constexpr int16_t kJoinWithRebalanceTimeout = 1;
constexpr int16_t kJoinWithKnownId = 4;
constexpr int16_t kJoinWithNullableProtocol = 7;
constexpr int16_t kJoinWithSkippedAssignment = 9;
constexpr int16_t kSyncNamesProtocol = 5;
constexpr int16_t kLeaveOfSeveral = 3;

coordinator::JoinGroup to_join(const Context& context, const JoinGroupRequest& request,
                               std::string_view client_host) {
  coordinator::JoinGroup join;
  join.group = request.group_id;
  join.member = request.member_id;
  join.instance = request.group_instance_id;
  join.protocol_type = request.protocol_type;
  for (const auto& protocol : request.protocols) join.protocols.push_back({protocol.name, protocol.metadata});
  join.session_timeout_ms = request.session_timeout_ms;
  join.rebalance_timeout_ms = context.version >= kJoinWithRebalanceTimeout ? request.rebalance_timeout_ms
                                                                           : request.session_timeout_ms;
  join.client_id = context.client_id.value_or("");
  join.client_host = client_host;
  join.reason = request.reason;
  join.member_id_required = context.version >= kJoinWithKnownId;
  join.can_skip_assignment = context.version >= kJoinWithSkippedAssignment;
  return join;
}

void log_long_member_id(const Context& context, const JoinGroupRequest& request) {
  static runtime::RateLimitedLog log(runtime::LogLevel::kWarning, 1);
  const auto& prefix = request.group_instance_id ? *request.group_instance_id : *context.client_id;
  log.write(context.shard().clock(),
            "{} can't join group \"{}\": its {} of {} bytes is too long for a member id to be made of it; "
            "{} fit",
            context.request.connection->client(), protocol::printable(request.group_id),
            request.group_instance_id ? "group.instance.id" : "client.id", prefix.size(),
            coordinator::kMaxMemberIdPrefix);
}

// Once the coordinator has taken what a request asked: nothing of it is needed while it waits.
void give_back(Context& context, GroupRequest& asked) {
  asked = GroupRequest();
  context.request.shrink_reserved(0);
  context.release_request();
}

}  // namespace

Task<> join_group(Context& context, const JoinGroupRequest& request, JoinGroupResponse& response) {
  const std::string client_host = "/" + context.request.connection->client_host;  // as Java prints an address
  GroupRequest asked = to_join(context, request, client_host);
  const bool has_room = coordinator::has_room_for_member_id(std::get<JoinGroup>(asked));
  const auto release = [&context, &asked] { give_back(context, asked); };
  const auto answered = co_await context.services.groups->handle(asked, release);
  const auto& result = std::get<coordinator::JoinGroupResult>(answered);
  // Refused at once, so the request is still there.
  if (result.error != ErrorCode::kNone && !has_room) log_long_member_id(context, request);
  response.error_code = result.error;
  response.generation_id = result.generation;
  response.protocol_type = context.nullable(result.protocol_type);
  response.protocol_name = context.nullable(result.protocol);
  if (context.version < kJoinWithNullableProtocol && !response.protocol_name) response.protocol_name = "";
  response.leader = context.text(result.leader);
  response.skip_assignment = result.skip_assignment;
  response.member_id = context.text(result.member);
  response.members = context.arena.make_array<JoinGroupResponse::Member>(result.members.size());
  for (size_t i = 0; i < result.members.size(); ++i) {
    response.members[i].member_id = context.text(result.members[i].member);
    response.members[i].group_instance_id = context.nullable(result.members[i].instance);
    response.members[i].metadata = context.arena.copy(Bytes(result.members[i].metadata));
  }
}

Task<> sync_group(Context& context, const SyncGroupRequest& request, SyncGroupResponse& response) {
  if (context.version >= kSyncNamesProtocol && (!request.protocol_type || !request.protocol_name)) {
    response.error_code = ErrorCode::kInconsistentGroupProtocol;
    co_return;
  }
  coordinator::SyncGroup sync{.group = request.group_id,
                              .member = request.member_id,
                              .instance = request.group_instance_id,
                              .generation = request.generation_id,
                              .protocol_type = request.protocol_type,
                              .protocol = request.protocol_name,
                              .assignments = {}};
  for (const auto& one : request.assignments) sync.assignments.push_back({one.member_id, one.assignment});
  GroupRequest asked(std::move(sync));
  const auto release = [&context, &asked] { give_back(context, asked); };
  const auto answered = co_await context.services.groups->handle(asked, release);
  const auto& result = std::get<coordinator::SyncGroupResult>(answered);
  response.error_code = result.error;
  response.protocol_type = context.nullable(result.protocol_type);
  response.protocol_name = context.nullable(result.protocol);
  response.assignment = context.arena.copy(Bytes(result.assignment));
}

Task<> heartbeat(Context& context, const HeartbeatRequest& request, HeartbeatResponse& response) {
  const GroupRequest asked = coordinator::Heartbeat{request.group_id, request.member_id,
                                                    request.group_instance_id, request.generation_id};
  const auto answered = co_await context.services.groups->handle(asked);
  response.error_code = std::get<coordinator::HeartbeatResult>(answered).error;
}

Task<> leave_group(Context& context, const LeaveGroupRequest& request, LeaveGroupResponse& response) {
  coordinator::LeaveGroup leave{.group = request.group_id, .members = {}};
  if (context.version < kLeaveOfSeveral) leave.members.push_back({request.member_id, {}, {}});
  for (const auto& member : request.members) {
    leave.members.push_back({member.member_id, member.group_instance_id, member.reason});
  }
  const GroupRequest asked(std::move(leave));
  const auto answered = co_await context.services.groups->handle(asked);
  const auto& result = std::get<coordinator::LeaveGroupResult>(answered);
  response.error_code = result.error;
  if (context.version < kLeaveOfSeveral) {
    if (result.error == ErrorCode::kNone && !result.members.empty())
      response.error_code = result.members[0].error;
    co_return;
  }
  response.members = context.arena.make_array<LeaveGroupResponse::Member>(result.members.size());
  for (size_t i = 0; i < result.members.size(); ++i) {
    response.members[i].member_id = context.text(result.members[i].member);
    response.members[i].group_instance_id = context.nullable(result.members[i].instance);
    response.members[i].error_code = result.members[i].error;
  }
}

}  // namespace millrace::api
