#include "broker/coordinator/consumer_record_codec.h"

#include <type_traits>
#include <utility>
#include <vector>

#include "broker/coordinator/record_encoding.h"
#include "protocol/messages/consumer_group_current_member_assignment_record.h"
#include "protocol/messages/consumer_group_member_metadata_record.h"
#include "protocol/messages/consumer_group_metadata_record.h"
#include "protocol/messages/consumer_group_partition_metadata_record.h"
#include "protocol/messages/consumer_group_regular_expression_record.h"
#include "protocol/messages/consumer_group_target_assignment_member_record.h"
#include "protocol/messages/consumer_group_target_assignment_metadata_record.h"

namespace millrace::coordinator {
namespace {

namespace wire = protocol;
using CurrentValue = wire::ConsumerGroupCurrentMemberAssignmentValue;
using MemberValue = wire::ConsumerGroupMemberMetadataValue;
using TargetMemberValue = wire::ConsumerGroupTargetAssignmentMemberValue;

constexpr int16_t kValueVersion = 0;

std::vector<std::string_view> views(const std::set<std::string, std::less<>>& texts) {
  return {texts.begin(), texts.end()};
}

std::set<std::string, std::less<>> texts(const Array<std::string_view>& views) {
  return {views.begin(), views.end()};
}

Result<EncodedRecord> encode_one(const ConsumerGroupEpochRecord& record, wire::Writer& writer) {
  const wire::ConsumerGroupMetadataKey key{record.group};
  if (!record.value) return encode_tombstone(key, writer);
  wire::ConsumerGroupMetadataValue value;
  value.epoch = record.value->epoch;
  value.metadata_hash = record.value->metadata_hash;
  return encode_pair(key, value, kValueVersion, writer);
}

Result<EncodedRecord> encode_one(const ConsumerGroupTopicsRecord& record, wire::Writer& writer) {
  return encode_tombstone(wire::ConsumerGroupPartitionMetadataKey{record.group}, writer);
}

Result<EncodedRecord> encode_one(const ConsumerMemberRecord& record, wire::Writer& writer) {
  const wire::ConsumerGroupMemberMetadataKey key{record.group, record.member};
  if (!record.value) return encode_tombstone(key, writer);
  const MemberMetadata& from = *record.value;
  auto topics = views(from.topics);
  std::vector<MemberValue::ClassicMemberMetadata::ClassicProtocol> protocols;
  MemberValue value;
  value.instance_id = view(from.instance_id);
  value.rack_id = view(from.rack_id);
  value.client_id = from.client_id;
  value.client_host = from.client_host;
  value.subscribed_topic_names = topics;
  value.subscribed_topic_regex = std::nullopt;
  if (!from.regex.empty()) value.subscribed_topic_regex = from.regex;
  value.rebalance_timeout_ms = from.rebalance_timeout_ms;
  value.server_assignor = view(from.assignor);
  value.classic_member_metadata = std::nullopt;
  if (from.classic) {
    for (const auto& protocol : from.classic->protocols)
      protocols.push_back({protocol.name, protocol.metadata});
    value.classic_member_metadata = {from.classic->session_timeout_ms, protocols};
  }
  return encode_pair(key, value, kValueVersion, writer);
}

Result<EncodedRecord> encode_one(const TargetEpochRecord& record, wire::Writer& writer) {
  const wire::ConsumerGroupTargetAssignmentMetadataKey key{record.group};
  if (!record.value) return encode_tombstone(key, writer);
  wire::ConsumerGroupTargetAssignmentMetadataValue value;
  value.assignment_epoch = record.value->epoch;
  value.assignment_timestamp = record.value->timestamp_ms;
  return encode_pair(key, value, kValueVersion, writer);
}

Result<EncodedRecord> encode_one(const TargetMemberRecord& record, wire::Writer& writer) {
  const wire::ConsumerGroupTargetAssignmentMemberKey key{record.group, record.member};
  if (!record.value) return encode_tombstone(key, writer);
  Arena arena;
  std::vector<TargetMemberValue::TopicPartition> topics;
  topics.reserve(record.value->size());
  for (const auto& [id, partitions] : *record.value) {
    const std::vector<int32_t> numbers(partitions.begin(), partitions.end());
    topics.push_back({id, arena.copy(numbers)});
  }
  TargetMemberValue value;
  value.topic_partitions = topics;
  return encode_pair(key, value, kValueVersion, writer);
}

std::vector<CurrentValue::TopicPartitions> to_wire(const OwnedPartitions& owned, Arena& arena) {
  std::vector<CurrentValue::TopicPartitions> topics;
  topics.reserve(owned.size());
  for (const auto& [id, partitions] : owned) {
    std::vector<int32_t> numbers;
    std::vector<int32_t> epochs;
    for (const auto& [number, epoch] : partitions) {
      numbers.push_back(number);
      epochs.push_back(epoch);
    }
    topics.push_back({id, arena.copy(numbers), arena.copy(epochs)});
  }
  return topics;
}

Result<EncodedRecord> encode_one(const CurrentAssignmentRecord& record, wire::Writer& writer) {
  const wire::ConsumerGroupCurrentMemberAssignmentKey key{record.group, record.member};
  if (!record.value) return encode_tombstone(key, writer);
  Arena arena;
  auto assigned = to_wire(record.value->assigned, arena);
  auto pending = to_wire(record.value->pending_revocation, arena);
  CurrentValue value;
  value.member_epoch = record.value->epoch;
  value.previous_member_epoch = record.value->previous_epoch;
  value.state = static_cast<int8_t>(record.value->state);
  value.assigned_partitions = assigned;
  value.partitions_pending_revocation = pending;
  return encode_pair(key, value, kValueVersion, writer);
}

Result<EncodedRecord> encode_one(const RegexRecord& record, wire::Writer& writer) {
  const wire::ConsumerGroupRegularExpressionKey key{record.group, record.regex};
  if (!record.value) return encode_tombstone(key, writer);
  auto topics = views(record.value->topics);
  wire::ConsumerGroupRegularExpressionValue value;
  value.topics = topics;
  value.version = record.value->version;
  value.timestamp = record.value->timestamp_ms;
  return encode_pair(key, value, kValueVersion, writer);
}

ConsumerGroupEpochRecord::Value from_wire(const wire::ConsumerGroupMetadataValue& value) {
  return {value.epoch, value.metadata_hash};
}

MemberMetadata from_wire(const MemberValue& value) {
  MemberMetadata metadata;
  metadata.instance_id = owned(value.instance_id);
  metadata.rack_id = owned(value.rack_id);
  metadata.client_id = std::string(value.client_id);
  metadata.client_host = std::string(value.client_host);
  metadata.topics = texts(value.subscribed_topic_names);
  metadata.regex = std::string(value.subscribed_topic_regex.value_or(""));
  metadata.rebalance_timeout_ms = value.rebalance_timeout_ms;
  metadata.assignor = owned(value.server_assignor);
  const auto& classic = value.classic_member_metadata;
  if (!classic || classic->supported_protocols.empty()) return metadata;
  metadata.classic.emplace();
  metadata.classic->session_timeout_ms = classic->session_timeout_ms;
  for (const auto& protocol : classic->supported_protocols) {
    metadata.classic->protocols.push_back(
        {std::string(protocol.name), Buffer(protocol.metadata.begin(), protocol.metadata.end())});
  }
  return metadata;
}

TargetEpochRecord::Value from_wire(const wire::ConsumerGroupTargetAssignmentMetadataValue& value) {
  return {value.assignment_epoch, value.assignment_timestamp};
}

Assignment from_wire(const TargetMemberValue& value) {
  Assignment assignment;
  for (const auto& topic : value.topic_partitions) {
    if (!topic.partitions.empty())
      assignment[topic.topic_id].insert(topic.partitions.begin(), topic.partitions.end());
  }
  return assignment;
}

// Partitions without an epoch of their own (Kafka before 4.3) came with the member's.
OwnedPartitions from_wire(const Array<CurrentValue::TopicPartitions>& topics, int32_t member_epoch) {
  OwnedPartitions owned;
  for (const auto& topic : topics) {
    for (size_t i = 0; i < topic.partitions.size(); ++i) {
      const bool has_epoch = topic.assignment_epochs && i < topic.assignment_epochs->size();
      owned[topic.topic_id][topic.partitions[i]] = has_epoch ? (*topic.assignment_epochs)[i] : member_epoch;
    }
  }
  return owned;
}

MemberState to_state(int8_t number) {
  switch (static_cast<MemberState>(number)) {
    case MemberState::kStable:
    case MemberState::kUnrevokedPartitions:
    case MemberState::kUnreleasedPartitions:
      return static_cast<MemberState>(number);
    default:
      return MemberState::kUnknown;
  }
}

MemberAssignment from_wire(const CurrentValue& value) {
  return {value.member_epoch, value.previous_member_epoch, to_state(value.state),
          from_wire(value.assigned_partitions, value.member_epoch),
          from_wire(value.partitions_pending_revocation, value.member_epoch)};
}

ResolvedRegex from_wire(const wire::ConsumerGroupRegularExpressionValue& value) {
  return {texts(value.topics), value.version, value.timestamp};
}

template <class Value, class Record>
Result<std::optional<GroupRecord>> decoded(Record record, std::optional<Bytes> bytes, Arena& arena) {
  if (bytes) {
    const auto value = decode_value<Value>(*bytes, arena);
    if (!value) return std::unexpected(value.error());
    record.value = from_wire(*value);
  }
  return GroupRecord(std::move(record));
}

// A record of which the key says only the group.
template <class Key, class Value, class Record>
Result<std::optional<GroupRecord>> decode_of_group(Bytes key, std::optional<Bytes> value, Arena& arena) {
  const auto read = decode_key<Key>(key, arena);
  if (!read) return std::unexpected(read.error());
  return decoded<Value>(Record{std::string(read->group_id), {}}, value, arena);
}

template <class Key, class Value, class Record>
Result<std::optional<GroupRecord>> decode_of_member(Bytes key, std::optional<Bytes> value, Arena& arena) {
  const auto read = decode_key<Key>(key, arena);
  if (!read) return std::unexpected(read.error());
  return decoded<Value>(Record{std::string(read->group_id), std::string(read->member_id), {}}, value, arena);
}

}  // namespace

Result<EncodedRecord> encode_consumer_record(const GroupRecord& record, wire::Writer& writer) {
  return std::visit(
      [&writer](const auto& one) -> Result<EncodedRecord> {
        using Record = std::remove_cvref_t<decltype(one)>;
        if constexpr (std::is_same_v<Record, OffsetCommitRecord> ||
                      std::is_same_v<Record, GroupMetadataRecord>) {
          return fail(ErrorCode::kInvalidRequest, "not a record of a consumer group");
        } else {
          return encode_one(one, writer);
        }
      },
      record);
}

Result<std::optional<GroupRecord>> decode_consumer_record(int16_t type, Bytes key, std::optional<Bytes> value,
                                                          Arena& arena) {
  switch (type) {
    case wire::ConsumerGroupMetadataKey::kRecordType:
      return decode_of_group<wire::ConsumerGroupMetadataKey, wire::ConsumerGroupMetadataValue,
                             ConsumerGroupEpochRecord>(key, value, arena);
    case wire::ConsumerGroupPartitionMetadataKey::kRecordType: {
      const auto read = decode_key<wire::ConsumerGroupPartitionMetadataKey>(key, arena);
      if (!read) return std::unexpected(read.error());
      return GroupRecord(ConsumerGroupTopicsRecord{std::string(read->group_id)});
    }
    case wire::ConsumerGroupMemberMetadataKey::kRecordType:
      return decode_of_member<wire::ConsumerGroupMemberMetadataKey, MemberValue, ConsumerMemberRecord>(
          key, value, arena);
    case wire::ConsumerGroupTargetAssignmentMetadataKey::kRecordType:
      return decode_of_group<wire::ConsumerGroupTargetAssignmentMetadataKey,
                             wire::ConsumerGroupTargetAssignmentMetadataValue, TargetEpochRecord>(key, value,
                                                                                                  arena);
    case wire::ConsumerGroupTargetAssignmentMemberKey::kRecordType:
      return decode_of_member<wire::ConsumerGroupTargetAssignmentMemberKey, TargetMemberValue,
                              TargetMemberRecord>(key, value, arena);
    case wire::ConsumerGroupCurrentMemberAssignmentKey::kRecordType:
      return decode_of_member<wire::ConsumerGroupCurrentMemberAssignmentKey, CurrentValue,
                              CurrentAssignmentRecord>(key, value, arena);
    case wire::ConsumerGroupRegularExpressionKey::kRecordType: {
      const auto read = decode_key<wire::ConsumerGroupRegularExpressionKey>(key, arena);
      if (!read) return std::unexpected(read.error());
      return decoded<wire::ConsumerGroupRegularExpressionValue>(
          RegexRecord{std::string(read->group_id), std::string(read->regular_expression), {}}, value, arena);
    }
    default:
      return std::optional<GroupRecord>();
  }
}

}  // namespace millrace::coordinator
