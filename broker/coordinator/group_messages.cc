#include "broker/coordinator/group_messages.h"

namespace millrace::coordinator {
namespace {

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};

}  // namespace

GroupResponse error_response(const GroupRequest& request, ErrorCode error) {
  return std::visit(
      Overloaded{
          [&](const JoinGroup& join) -> GroupResponse {
            JoinGroupResult result;
            result.error = error;
            result.member = std::string(join.member);
            return result;
          },
          [&](const SyncGroup&) -> GroupResponse { return SyncGroupResult{.error = error}; },
          [&](const Heartbeat&) -> GroupResponse { return HeartbeatResult{error}; },
          [&](const LeaveGroup&) -> GroupResponse {
            return LeaveGroupResult{error, {}};
          },
          [&](const OffsetCommit& commit) -> GroupResponse {
            return OffsetCommitResult{std::vector<ErrorCode>(commit.partition_count(), error)};
          },
          [&](const OffsetFetch&) -> GroupResponse {
            return OffsetFetchResult{error, {}};
          },
          [&](const OffsetDelete&) -> GroupResponse {
            return OffsetDeleteResult{error, {}};
          },
          [&](const ListGroups&) -> GroupResponse {
            return ListGroupsResult{error, {}};
          },
          [&](const DescribeGroup&) -> GroupResponse { return DescribeGroupResult{.error = error}; },
          [&](const DeleteGroup&) -> GroupResponse { return DeleteGroupResult{error}; },
          [&](const ConsumerHeartbeat&) -> GroupResponse {
            return ConsumerHeartbeatResult{.error = {error, {}}};
          },
          [&](const DescribeConsumerGroup&) -> GroupResponse {
            return DescribeConsumerGroupResult{.error = {error, {}}};
          },
      },
      request);
}

std::string_view group_of(const GroupRequest& request) {
  return std::visit(Overloaded{[](const ListGroups&) { return std::string_view(); },
                               [](const auto& other) { return other.group; }},
                    request);
}

}  // namespace millrace::coordinator
