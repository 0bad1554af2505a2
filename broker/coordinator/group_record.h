// What the group coordinator writes to __consumer_offsets and is rebuilt from, as values.
// group_record_codec.h turns them into Kafka's own record formats and back.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/uuid.h"

namespace millrace::coordinator {

// One committed position of a group in a partition.
struct CommittedOffset {
  int64_t offset = 0;
  int64_t commit_timestamp_ms = 0;
  int64_t expire_timestamp_ms = -1;  // -1: as long as offsets.retention.minutes says (OffsetCommit v5+)
  int32_t leader_epoch = -1;
  std::string metadata;
  Uuid topic_id;  // zeros: committed by a client that knows the topic by name only

  bool operator==(const CommittedOffset&) const = default;
};

struct OffsetCommitRecord {
  std::string group;
  std::string topic;
  int32_t partition = 0;
  std::optional<CommittedOffset> value;  // nothing: a tombstone

  bool operator==(const OffsetCommitRecord&) const = default;
};

struct StoredMember {
  std::string member_id;
  std::optional<std::string> instance_id;
  std::string client_id;
  std::string client_host;
  int32_t rebalance_timeout_ms = -1;
  int32_t session_timeout_ms = 0;
  Buffer subscription;
  Buffer assignment;

  bool operator==(const StoredMember&) const = default;
};

// A classic group as of its last generation.
struct StoredGroup {
  std::string protocol_type;
  int32_t generation = 0;
  std::optional<std::string> protocol;
  std::optional<std::string> leader;
  int64_t state_timestamp_ms = -1;
  std::vector<StoredMember> members;

  bool operator==(const StoredGroup&) const = default;
};

struct GroupMetadataRecord {
  std::string group;
  std::optional<StoredGroup> value;  // nothing: a tombstone

  bool operator==(const GroupMetadataRecord&) const = default;
};

using GroupRecord = std::variant<OffsetCommitRecord, GroupMetadataRecord>;

}  // namespace millrace::coordinator
