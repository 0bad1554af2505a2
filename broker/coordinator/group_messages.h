// Requests to the group coordinator and its answers, as values. Requests are views into the caller's memory,
// which only has to outlive the call that handles them; answers own what they say, because some are given
// much later. What differs between versions of an API and changes the meaning is a field here (filled by
// broker/api).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "broker/coordinator/group_record.h"
#include "protocol/bytes.h"
#include "protocol/error_code.h"
#include "protocol/result.h"
#include "protocol/uuid.h"

namespace millrace::coordinator {

struct JoinGroup {
  struct Protocol {
    std::string_view name;
    Bytes metadata;
  };
  std::string_view group;
  std::string_view member;                   // empty: the member has no id yet
  std::optional<std::string_view> instance;  // a static member (KIP-345)
  std::string_view protocol_type;
  std::vector<Protocol> protocols;  // in the order of the member's preference
  int32_t session_timeout_ms = 0;
  int32_t rebalance_timeout_ms = 0;  // v0 has none: the session timeout
  std::string_view client_id;
  std::string_view client_host;
  std::optional<std::string_view> reason;  // for the log (KIP-800)
  bool member_id_required = false;         // v4+: a first join is answered with an id to join with (KIP-394)
  bool can_skip_assignment = false;        // v9+: a leader can be told not to assign (KIP-814)
};

struct JoinGroupResult {
  struct Member {
    std::string member;
    std::optional<std::string> instance;
    Buffer metadata;
  };
  ErrorCode error = ErrorCode::kNone;
  int32_t generation = -1;
  std::optional<std::string> protocol_type;
  std::optional<std::string> protocol;
  std::string leader;
  bool skip_assignment = false;
  std::string member;
  std::vector<Member> members;  // for the leader only
};

struct SyncGroup {
  struct Assignment {
    std::string_view member;
    Bytes assignment;
  };
  std::string_view group;
  std::string_view member;
  std::optional<std::string_view> instance;
  int32_t generation = -1;
  std::optional<std::string_view> protocol_type;
  std::optional<std::string_view> protocol;
  std::vector<Assignment> assignments;  // from the leader only
};

struct SyncGroupResult {
  ErrorCode error = ErrorCode::kNone;
  std::optional<std::string> protocol_type;
  std::optional<std::string> protocol;
  Buffer assignment;
};

struct Heartbeat {
  std::string_view group;
  std::string_view member;
  std::optional<std::string_view> instance;
  int32_t generation = -1;
};

struct HeartbeatResult {
  ErrorCode error = ErrorCode::kNone;
};

struct LeaveGroup {
  struct Member {
    std::string_view member;  // empty with an instance: an administrator removes a static member
    std::optional<std::string_view> instance;
    std::optional<std::string_view> reason;
  };
  std::string_view group;
  std::vector<Member> members;
};

struct LeaveGroupResult {
  struct Member {
    std::string member;
    std::optional<std::string> instance;
    ErrorCode error = ErrorCode::kNone;
  };
  ErrorCode error = ErrorCode::kNone;
  std::vector<Member> members;
};

// Topics are known to exist: broker/api answers for those that don't, and resolves ids to names.
struct OffsetCommit {
  struct Partition {
    int32_t partition = 0;
    int64_t offset = 0;
    int32_t leader_epoch = -1;
    std::optional<std::string_view> metadata;

    size_t metadata_bytes() const { return metadata ? metadata->size() : 0; }
  };
  struct Topic {
    std::string_view name;
    Uuid id;
    std::vector<Partition> partitions;
  };
  std::string_view group;
  std::string_view member;
  std::optional<std::string_view> instance;
  int32_t generation = -1;    // -1: a simple consumer, or an administrator
  int64_t retention_ms = -1;  // v2-4
  // v9+, for members of consumer groups: GROUP_ID_NOT_FOUND where earlier versions say ILLEGAL_GENERATION
  bool reports_missing_group = false;
  std::vector<Topic> topics;

  size_t partition_count() const {
    size_t count = 0;
    for (const Topic& topic : topics) count += topic.partitions.size();
    return count;
  }
};

struct OffsetCommitResult {
  std::vector<ErrorCode> errors;  // of all partitions, in the order of the request
};

struct OffsetFetch {
  struct Topic {
    std::string_view name;
    Uuid id;  // zeros: asked for by name
    std::vector<int32_t> partitions;
  };
  std::string_view group;
  // v9+: who asks, as a member of a consumer group; nothing and -1 for anybody else.
  std::optional<std::string_view> member;
  int32_t member_epoch = -1;
  std::optional<std::vector<Topic>> topics;  // nothing: all
  bool require_stable = false;
};

struct OffsetFetchResult {
  struct Partition {
    int32_t partition = 0;
    int64_t offset = -1;  // -1: nothing committed, which is no error
    int32_t leader_epoch = -1;
    std::string metadata;
    ErrorCode error = ErrorCode::kNone;
  };
  struct Topic {
    std::string name;
    Uuid id;
    std::vector<Partition> partitions;
  };
  ErrorCode error = ErrorCode::kNone;
  std::vector<Topic> topics;
};

struct OffsetDelete {
  struct Topic {
    std::string_view name;
    std::vector<int32_t> partitions;
  };
  std::string_view group;
  std::vector<Topic> topics;
};

struct OffsetDeleteResult {
  struct Topic {
    std::string name;
    std::vector<std::pair<int32_t, ErrorCode>> partitions;
  };
  ErrorCode error = ErrorCode::kNone;
  std::vector<Topic> topics;
};

struct ListGroups {
  std::vector<std::string_view> states;  // empty: any; compared without regard to case
  std::vector<std::string_view> types;
};

struct ListGroupsResult {
  struct Group {
    std::string group;
    std::string protocol_type;
    std::string state;
    std::string type;
  };
  ErrorCode error = ErrorCode::kNone;
  std::vector<Group> groups;
};

struct DescribeGroup {
  std::string_view group;
};

struct DescribeGroupResult {
  struct Member {
    std::string member;
    std::optional<std::string> instance;
    std::string client_id;
    std::string client_host;
    Buffer metadata;
    Buffer assignment;
  };
  ErrorCode error = ErrorCode::kNone;  // GROUP_ID_NOT_FOUND: versions before 6 say state Dead instead
  std::string message;
  std::string state;
  std::string protocol_type;
  std::string protocol;
  std::vector<Member> members;
};

struct DeleteGroup {
  std::string_view group;
};

struct DeleteGroupResult {
  ErrorCode error = ErrorCode::kNone;
};

// KIP-848. What is nothing (or -1, the timeout) is as the member said it last.
struct ConsumerHeartbeat {
  std::string_view group;
  std::string_view member;
  int32_t epoch = 0;  // 0 joins, -1 leaves, -2 leaves for a while
  std::optional<std::string_view> instance;
  std::optional<std::string_view> rack;
  int32_t rebalance_timeout_ms = -1;
  std::optional<std::vector<std::string_view>> topics;
  std::optional<std::string_view> regex;
  std::optional<std::string_view> assignor;
  std::optional<Assignment> owned;
  std::string_view client_id;
  std::string_view client_host;
  bool makes_member_id = false;  // v0: an empty member id is answered with one
};

struct ConsumerHeartbeatResult {
  Error error{ErrorCode::kNone, {}};
  std::string member;
  int32_t epoch = 0;
  int32_t heartbeat_interval_ms = 0;
  std::optional<Assignment> assignment;  // only when the member needs to know
};

struct DescribeConsumerGroup {
  std::string_view group;
};

struct DescribeConsumerGroupResult {
  struct Topic {
    Uuid id;
    std::string name;
    std::vector<int32_t> partitions;
  };
  struct Member {
    std::string member;
    std::optional<std::string> instance;
    std::optional<std::string> rack;
    int32_t epoch = 0;
    std::string client_id;
    std::string client_host;
    std::vector<std::string> topics;
    std::string regex;  // empty: none
    std::vector<Topic> assigned;
    std::vector<Topic> target;
    bool is_classic = false;
  };
  Error error{ErrorCode::kNone, {}};
  std::string state;
  int32_t epoch = 0;
  int32_t target_epoch = 0;
  std::string assignor;
  std::vector<Member> members;
};

using GroupRequest =
    std::variant<JoinGroup, SyncGroup, Heartbeat, LeaveGroup, OffsetCommit, OffsetFetch, OffsetDelete,
                 ListGroups, DescribeGroup, DeleteGroup, ConsumerHeartbeat, DescribeConsumerGroup>;
// In the order of GroupRequest: the answer to a request has the request's index.
using GroupResponse =
    std::variant<JoinGroupResult, SyncGroupResult, HeartbeatResult, LeaveGroupResult, OffsetCommitResult,
                 OffsetFetchResult, OffsetDeleteResult, ListGroupsResult, DescribeGroupResult,
                 DeleteGroupResult, ConsumerHeartbeatResult, DescribeConsumerGroupResult>;

// The answer that says `error` to all that `request` asked for, in the shape that Kafka gives it (a commit
// has no place for an error of its own, so each of its partitions says it).
GroupResponse error_response(const GroupRequest& request, ErrorCode error);

// The group that a request is about; empty for ListGroups.
std::string_view group_of(const GroupRequest& request);

}  // namespace millrace::coordinator
