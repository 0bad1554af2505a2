// ListGroups: 4 filters by state (KIP-518), 5 by type (KIP-848). DescribeGroups: 3 says what the client may
// do, 4 shows static members, 6 says when a group is missing (KIP-1043). DeleteGroups.
#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/api/answer_limit.h"
#include "broker/api/endpoints.h"
#include "broker/api/handlers.h"
#include "broker/coordinator/group_service.h"
#include "protocol/messages/delete_groups.h"
#include "protocol/messages/describe_groups.h"
#include "protocol/messages/list_groups.h"

namespace millrace::api {
namespace {

using coordinator::GroupRequest;
using protocol::DeleteGroupsRequest;
using protocol::DeleteGroupsResponse;
using protocol::DescribeGroupsRequest;
using protocol::DescribeGroupsResponse;
using protocol::ListGroupsRequest;
using protocol::ListGroupsResponse;

constexpr int16_t kDescribeReportsMissingGroup = 6;
// So many share a sync, and then others get a turn.
constexpr size_t kDeletionsPerTurn = 1'000;

void fill(Context& context, const coordinator::DescribeGroupResult& result,
          DescribeGroupsResponse::Group& group) {
  group.error_code = result.error;
  group.group_state = context.text(result.state);
  group.protocol_type = context.text(result.protocol_type);
  group.protocol_data = context.text(result.protocol);
  group.members = context.arena.make_array<DescribeGroupsResponse::Group::Member>(result.members.size());
  for (size_t i = 0; i < result.members.size(); ++i) {
    const auto& from = result.members[i];
    auto& member = group.members[i];
    member.member_id = context.text(from.member);
    if (from.instance) member.group_instance_id = context.text(*from.instance);
    member.client_id = context.text(from.client_id);
    member.client_host = context.text(from.client_host);
    member.member_metadata = context.arena.copy(Bytes(from.metadata));
    member.member_assignment = context.arena.copy(Bytes(from.assignment));
  }
}

Task<> describe(Context& context, const DescribeGroupsRequest& request,
                DescribeGroupsResponse::Group& group) {
  const GroupRequest asked = coordinator::DescribeGroup{group.group_id};
  const auto answered = co_await context.services.groups->handle(asked);
  const auto& result = std::get<coordinator::DescribeGroupResult>(answered);
  fill(context, result, group);
  if (group.error_code == ErrorCode::kGroupIdNotFound) {
    if (context.version >= kDescribeReportsMissingGroup) {
      group.error_message = context.message(result.message);
    } else {
      group.error_code = ErrorCode::kNone;  // the state is Dead
    }
  }
  if (request.include_authorized_operations && group.error_code == ErrorCode::kNone)
    group.authorized_operations = kAllGroupOperations;
}

}  // namespace

Task<> list_groups(Context& context, const ListGroupsRequest& request, ListGroupsResponse& response) {
  const GroupRequest asked =
      coordinator::ListGroups{{request.states_filter.begin(), request.states_filter.end()},
                              {request.types_filter.begin(), request.types_filter.end()}};
  const auto answered = co_await context.services.groups->handle(asked);
  const auto& result = std::get<coordinator::ListGroupsResult>(answered);
  response.error_code = result.error;
  response.groups = context.arena.make_array<ListGroupsResponse::Group>(result.groups.size());
  for (size_t i = 0; i < result.groups.size(); ++i) {
    response.groups[i].group_id = context.text(result.groups[i].group);
    response.groups[i].protocol_type = context.text(result.groups[i].protocol_type);
    response.groups[i].group_state = context.text(result.groups[i].state);
    response.groups[i].group_type = context.text(result.groups[i].type);
  }
}

Task<> describe_groups(Context& context, const DescribeGroupsRequest& request,
                       DescribeGroupsResponse& response) {
  const std::vector<std::string_view> names = named_once(request.groups);
  response.groups = context.arena.make_array<DescribeGroupsResponse::Group>(names.size());
  for (size_t i = 0; i < names.size(); ++i) response.groups[i].group_id = names[i];
  const auto answer = [&](size_t i) { return describe(context, request, response.groups[i]); };
  const auto refuse = [&](size_t i) {
    response.groups[i].error_code = AnswerLimit::kError;
    if (context.version >= kDescribeReportsMissingGroup)
      response.groups[i].error_message = AnswerLimit::kMessage;
  };
  co_await answer_within_limit(context, names.size(), answer, refuse);
}

Task<> delete_groups(Context& context, const DeleteGroupsRequest& request, DeleteGroupsResponse& response) {
  const std::vector<std::string_view> names = named_once(request.groups_names);
  response.results = context.arena.make_array<DeleteGroupsResponse::Group>(names.size());
  for (size_t first = 0; first < names.size(); first += kDeletionsPerTurn) {
    if (first > 0) co_await context.give_way();
    std::vector<GroupRequest> asked;
    for (size_t i = first; i < std::min(names.size(), first + kDeletionsPerTurn); ++i)
      asked.emplace_back(coordinator::DeleteGroup{names[i]});
    const auto answered = co_await context.services.groups->handle_all(asked);
    for (size_t i = 0; i < asked.size(); ++i) {
      response.results[first + i].group_id = names[first + i];
      response.results[first + i].error_code = std::get<coordinator::DeleteGroupResult>(answered[i]).error;
    }
  }
}

}  // namespace millrace::api
