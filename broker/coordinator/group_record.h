// What the group coordinator writes to __consumer_offsets and is rebuilt from, as values.
// group_record_codec.h turns them into Kafka's own record formats and back.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
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

// What one request commits: as many OffsetCommitRecords as it has positions, which share all but this.
struct CommittedPositions {
  struct Position {
    int32_t partition = 0;
    int32_t leader_epoch = -1;
    int64_t offset = 0;
    std::string metadata;
  };
  struct Topic {
    std::string name;
    Uuid id;
    std::vector<Position> positions;  // at least one
  };
  std::string group;
  int64_t commit_timestamp_ms = 0;
  int64_t expire_timestamp_ms = -1;
  std::vector<Topic> topics;

  size_t size() const {
    size_t positions = 0;
    for (const Topic& topic : topics) positions += topic.positions.size();
    return positions;
  }
  CommittedOffset offset_at(const Topic& topic, const Position& position) const {
    return {position.offset,       commit_timestamp_ms, expire_timestamp_ms,
            position.leader_epoch, position.metadata,   topic.id};
  }
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

// Partitions by topic id, those of a topic in order; no topic without one.
using Assignment = std::map<Uuid, std::set<int32_t>>;
// The same, with the epoch at which the member got each partition.
using OwnedPartitions = std::map<Uuid, std::map<int32_t, int32_t>>;

// What is left of the classic protocol in a member that came by it (KIP-1099).
struct ClassicMembership {
  struct Protocol {
    std::string name;
    Buffer metadata;
    bool operator==(const Protocol&) const = default;
  };
  int32_t session_timeout_ms = 0;
  std::vector<Protocol> protocols;  // in the order of the member's preference, at least one

  bool operator==(const ClassicMembership&) const = default;
};

// What a member of a consumer group says about itself.
struct MemberMetadata {
  std::optional<std::string> instance_id;
  std::optional<std::string> rack_id;
  std::string client_id;
  std::string client_host;
  std::set<std::string, std::less<>> topics;
  std::string regex;  // empty: none
  int32_t rebalance_timeout_ms = -1;
  std::optional<std::string> assignor;
  std::optional<ClassicMembership> classic;  // nothing: it speaks the consumer protocol

  bool operator==(const MemberMetadata&) const = default;
};

// Kafka's numbers.
enum class MemberState : int8_t {
  kStable = 0,
  kUnrevokedPartitions = 1,   // has to give up partitions first
  kUnreleasedPartitions = 2,  // waits for partitions that others still own
  kUnknown = 127,
};

// What a member of a consumer group owns, on its way to the target.
struct MemberAssignment {
  int32_t epoch = 0;
  int32_t previous_epoch = 0;
  MemberState state = MemberState::kStable;
  OwnedPartitions assigned;
  OwnedPartitions pending_revocation;

  bool operator==(const MemberAssignment&) const = default;
};

struct ResolvedRegex {
  std::set<std::string, std::less<>> topics;
  int64_t version = 0;  // of the metadata
  int64_t timestamp_ms = 0;

  bool operator==(const ResolvedRegex&) const = default;
};

// The records of a consumer group (KIP-848). A value of nothing is a tombstone, as above.
struct ConsumerGroupEpochRecord {
  struct Value {
    int32_t epoch = 0;
    int64_t metadata_hash = 0;
    bool operator==(const Value&) const = default;
  };
  std::string group;
  std::optional<Value> value;

  bool operator==(const ConsumerGroupEpochRecord&) const = default;
};

// Of Kafka before 4.1: is not made any more, and passed over.
struct ConsumerGroupTopicsRecord {
  std::string group;

  bool operator==(const ConsumerGroupTopicsRecord&) const = default;
};

struct ConsumerMemberRecord {
  std::string group;
  std::string member;
  std::optional<MemberMetadata> value;

  bool operator==(const ConsumerMemberRecord&) const = default;
};

struct TargetEpochRecord {
  struct Value {
    int32_t epoch = 0;
    int64_t timestamp_ms = 0;
    bool operator==(const Value&) const = default;
  };
  std::string group;
  std::optional<Value> value;

  bool operator==(const TargetEpochRecord&) const = default;
};

struct TargetMemberRecord {
  std::string group;
  std::string member;
  std::optional<Assignment> value;

  bool operator==(const TargetMemberRecord&) const = default;
};

struct CurrentAssignmentRecord {
  std::string group;
  std::string member;
  std::optional<MemberAssignment> value;

  bool operator==(const CurrentAssignmentRecord&) const = default;
};

struct RegexRecord {
  std::string group;
  std::string regex;
  std::optional<ResolvedRegex> value;

  bool operator==(const RegexRecord&) const = default;
};

using GroupRecord = std::variant<OffsetCommitRecord, GroupMetadataRecord, ConsumerGroupEpochRecord,
                                 ConsumerGroupTopicsRecord, ConsumerMemberRecord, TargetEpochRecord,
                                 TargetMemberRecord, CurrentAssignmentRecord, RegexRecord>;

inline const std::string& group_of(const GroupRecord& record) {
  return std::visit([](const auto& one) -> const std::string& { return one.group; }, record);
}

// What a record takes in a batch besides its texts, roughly.
inline constexpr size_t kRecordOverheadBytes = 80;

// What the record takes in a batch, roughly; a tombstone no more than this.
inline size_t estimated_bytes(const GroupRecord& record) {
  const size_t names = std::visit(
      [](const auto& one) {
        size_t bytes = one.group.size();
        if constexpr (requires { one.topic; }) bytes += one.topic.size();
        if constexpr (requires { one.member; }) bytes += one.member.size();
        if constexpr (requires { one.regex; }) bytes += one.regex.size();
        return bytes;
      },
      record);
  const auto* commit = std::get_if<OffsetCommitRecord>(&record);
  return kRecordOverheadBytes + names +
         (commit != nullptr && commit->value ? commit->value->metadata.size() : 0);
}

// What its records take, as above.
inline size_t estimated_bytes(const CommittedPositions& commit) {
  size_t bytes = 0;
  for (const CommittedPositions::Topic& topic : commit.topics) {
    bytes += topic.positions.size() * (kRecordOverheadBytes + commit.group.size() + topic.name.size());
    for (const CommittedPositions::Position& position : topic.positions) bytes += position.metadata.size();
  }
  return bytes;
}

}  // namespace millrace::coordinator
