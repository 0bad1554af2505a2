// What a group has committed, and commits made from outside of it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "protocol/topic_partition.h"
#include "tools/client/groups.h"

namespace millrace::tools {

struct CommittedOffset {
  int64_t offset = -1;
  int32_t leader_epoch = -1;
  std::string metadata;
};

using GroupOffsets = std::map<TopicPartition, CommittedOffset>;

// All that the group has committed; nothing for an unknown group. Needs OffsetFetch 8 (Kafka 3.0).
Result<GroupOffsets> committed_offsets(Cluster& cluster, const std::string& group);

// Who commits; the default is somebody who isn't a member, which is refused with kUnknownMemberId while the
// group has members.
struct Committer {
  std::string member_id;
  int32_t epoch = -1;
};

// Commits the offset of the next record to read of each partition. All or an error: the first partition's
// that was refused.
Result<void> commit_offsets(Cluster& cluster, const std::string& group, const Committer& committer,
                            const std::map<TopicPartition, int64_t>& offsets);

}  // namespace millrace::tools
