#include "broker/coordinator/group_record_codec.h"

#include <bit>
#include <cstring>
#include <span>
#include <utility>

#include "broker/coordinator/consumer_record_codec.h"
#include "broker/coordinator/record_encoding.h"
#include "protocol/messages/group_metadata_record.h"
#include "protocol/messages/offset_commit_record.h"

namespace millrace::coordinator {
namespace {

using protocol::GroupMetadataKey;
using protocol::GroupMetadataValue;
using protocol::OffsetCommitKey;
using protocol::OffsetCommitValue;

constexpr int16_t kFormerOffsetCommitType = 0;
constexpr int16_t kGroupMetadataVersion = 3;
constexpr int16_t kOffsetCommitVersion = 4;
constexpr int16_t kOffsetCommitVersionWithExpiry = 1;
// Where a value has the offset: behind its version, in all versions.
constexpr size_t kOffsetInValue = sizeof(int16_t);

template <class Integer>
void put_big_endian(std::span<std::byte, sizeof(Integer)> at, Integer value) {
  if constexpr (std::endian::native == std::endian::little) value = std::byteswap(value);
  std::memcpy(at.data(), &value, sizeof value);
}

// -1 is none.
int64_t shifted(int64_t timestamp_ms, int64_t by_ms) {
  return timestamp_ms == -1 ? -1 : timestamp_ms + by_ms;
}

struct VersionedValue {
  OffsetCommitValue value;
  int16_t version;
};

VersionedValue stored(const CommittedOffset& from, int64_t wall_ahead_ms) {
  OffsetCommitValue value;
  value.offset = from.offset;
  value.leader_epoch = from.leader_epoch;
  value.metadata = from.metadata;
  value.commit_timestamp = shifted(from.commit_timestamp_ms, wall_ahead_ms);
  value.expire_timestamp = shifted(from.expire_timestamp_ms, wall_ahead_ms);
  value.topic_id = from.topic_id;
  return {value, from.expire_timestamp_ms == -1 ? kOffsetCommitVersion : kOffsetCommitVersionWithExpiry};
}

Result<EncodedRecord> encode_commit(const OffsetCommitKey& key, const CommittedOffset& offset,
                                    protocol::Writer& writer, int64_t wall_ahead_ms) {
  const auto [value, version] = stored(offset, wall_ahead_ms);
  return encode_pair(key, value, version, writer);
}

Result<EncodedRecord> encode_commit(const OffsetCommitRecord& record, protocol::Writer& writer,
                                    int64_t wall_ahead_ms) {
  const OffsetCommitKey key{record.group, record.topic, record.partition};
  if (!record.value) return encode_tombstone(key, writer);
  return encode_commit(key, *record.value, writer, wall_ahead_ms);
}

Result<EncodedRecord> encode_group(const GroupMetadataRecord& record, protocol::Writer& writer,
                                   int64_t wall_ahead_ms) {
  const GroupMetadataKey key{record.group};
  if (!record.value) return encode_tombstone(key, writer);
  std::vector<GroupMetadataValue::Member> members;
  members.reserve(record.value->members.size());
  for (const StoredMember& member : record.value->members) {
    members.push_back({member.member_id, view(member.instance_id), member.client_id, member.client_host,
                       member.rebalance_timeout_ms, member.session_timeout_ms, member.subscription,
                       member.assignment});
  }
  GroupMetadataValue value;
  value.protocol_type = record.value->protocol_type;
  value.generation = record.value->generation;
  value.protocol = view(record.value->protocol);
  value.leader = view(record.value->leader);
  value.current_state_timestamp = shifted(record.value->state_timestamp_ms, wall_ahead_ms);
  value.members = members;
  return encode_pair(key, value, kGroupMetadataVersion, writer);
}

Result<std::optional<GroupRecord>> decode_commit(Bytes key_bytes, std::optional<Bytes> value_bytes,
                                                 Arena& arena) {
  const auto key = decode_key<OffsetCommitKey>(key_bytes, arena);
  if (!key) return std::unexpected(key.error());
  OffsetCommitRecord record{std::string(key->group), std::string(key->topic), key->partition, std::nullopt};
  if (value_bytes) {
    const auto value = decode_value<OffsetCommitValue>(*value_bytes, arena);
    if (!value) return std::unexpected(value.error());
    record.value = CommittedOffset{value->offset,       value->commit_timestamp,      value->expire_timestamp,
                                   value->leader_epoch, std::string(value->metadata), value->topic_id};
  }
  return GroupRecord(std::move(record));
}

Result<std::optional<GroupRecord>> decode_group(Bytes key_bytes, std::optional<Bytes> value_bytes,
                                                Arena& arena) {
  const auto key = decode_key<GroupMetadataKey>(key_bytes, arena);
  if (!key) return std::unexpected(key.error());
  GroupMetadataRecord record{std::string(key->group), std::nullopt};
  if (value_bytes) {
    const auto value = decode_value<GroupMetadataValue>(*value_bytes, arena);
    if (!value) return std::unexpected(value.error());
    StoredGroup group{std::string(value->protocol_type),
                      value->generation,
                      owned(value->protocol),
                      owned(value->leader),
                      value->current_state_timestamp,
                      {}};
    for (const GroupMetadataValue::Member& member : value->members) {
      group.members.push_back({std::string(member.member_id), owned(member.group_instance_id),
                               std::string(member.client_id), std::string(member.client_host),
                               member.rebalance_timeout, member.session_timeout,
                               Buffer(member.subscription.begin(), member.subscription.end()),
                               Buffer(member.assignment.begin(), member.assignment.end())});
    }
    record.value = std::move(group);
  }
  return GroupRecord(std::move(record));
}

}  // namespace

Result<EncodedRecord> encode_record(const GroupRecord& record, protocol::Writer& writer,
                                    int64_t wall_ahead_ms) {
  if (const auto* commit = std::get_if<OffsetCommitRecord>(&record))
    return encode_commit(*commit, writer, wall_ahead_ms);
  if (const auto* group = std::get_if<GroupMetadataRecord>(&record))
    return encode_group(*group, writer, wall_ahead_ms);
  return encode_consumer_record(record, writer);
}

Result<> append_records(const CommittedPositions& commit, protocol::BatchBuilder& batch, int64_t timestamp_ms,
                        protocol::Writer& writer, int64_t wall_ahead_ms) {
  for (const CommittedPositions::Topic& topic : commit.topics) {
    // The keys of a topic differ in their last number only, and most values in their first.
    const CommittedPositions::Position* before = nullptr;
    for (const CommittedPositions::Position& position : topic.positions) {
      const bool is_alike = before != nullptr && before->leader_epoch == position.leader_epoch &&
                            before->metadata == position.metadata;
      before = &position;
      if (is_alike) {
        if (const auto copy = batch.append_copy()) {
          put_big_endian(copy->key.last<sizeof(int32_t)>(), position.partition);
          put_big_endian(copy->value.subspan<kOffsetInValue, sizeof(int64_t)>(), position.offset);
          continue;
        }
      }
      writer.clear();
      const auto encoded = encode_commit(OffsetCommitKey{commit.group, topic.name, position.partition},
                                         commit.offset_at(topic, position), writer, wall_ahead_ms);
      if (!encoded) return std::unexpected(encoded.error());
      batch.append(encoded->key, encoded->value, {}, timestamp_ms);
    }
  }
  return {};
}

Result<std::optional<GroupRecord>> decode_record(std::optional<Bytes> key, std::optional<Bytes> value) {
  if (!key) return fail(ErrorCode::kInvalidRecord, "a record without a key");
  const auto type = take_prefix(*key);
  if (!type) return fail(ErrorCode::kInvalidRecord, "a key without a type");
  Arena arena;
  if (*type == OffsetCommitKey::kRecordType || *type == kFormerOffsetCommitType)
    return decode_commit(*key, value, arena);
  if (*type == GroupMetadataKey::kRecordType) return decode_group(*key, value, arena);
  return decode_consumer_record(*type, *key, value, arena);
}

}  // namespace millrace::coordinator
