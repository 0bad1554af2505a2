#include "broker/coordinator/group_record_codec.h"

#include <fmt/format.h>

#include <utility>

#include "protocol/arena.h"
#include "protocol/messages/group_metadata_record.h"
#include "protocol/messages/offset_commit_record.h"
#include "protocol/reader.h"
#include "protocol/writer.h"

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
constexpr int16_t kKeyVersion = 0;
constexpr size_t kPrefixBytes = 2;

template <class Message>
Result<Buffer> encoded(const Message& message, int16_t prefix, int16_t version) {
  protocol::Writer writer;
  writer.integer(prefix);
  if (auto written = encode(message, version, writer); !written)
    return std::unexpected(std::move(written.error()));
  return writer.take();
}

Result<EncodedRecord> joined(Result<Buffer> key, std::optional<Result<Buffer>> value) {
  if (!key) return std::unexpected(std::move(key.error()));
  EncodedRecord record{std::move(*key), std::nullopt};
  if (!value) return record;
  if (!*value) return std::unexpected(std::move(value->error()));
  record.value = std::move(**value);
  return record;
}

Result<EncodedRecord> encode_commit(const OffsetCommitRecord& record) {
  auto key = encoded(OffsetCommitKey{record.group, record.topic, record.partition},
                     OffsetCommitKey::kRecordType, kKeyVersion);
  if (!record.value) return joined(std::move(key), std::nullopt);
  const CommittedOffset& from = *record.value;
  OffsetCommitValue value;
  value.offset = from.offset;
  value.leader_epoch = from.leader_epoch;
  value.metadata = from.metadata;
  value.commit_timestamp = from.commit_timestamp_ms;
  value.expire_timestamp = from.expire_timestamp_ms;
  value.topic_id = from.topic_id;
  const int16_t version =
      from.expire_timestamp_ms == -1 ? kOffsetCommitVersion : kOffsetCommitVersionWithExpiry;
  return joined(std::move(key), encoded(value, version, version));
}

std::optional<std::string_view> view(const std::optional<std::string>& text) {
  if (!text) return std::nullopt;
  return std::string_view(*text);
}

std::optional<std::string> owned(const std::optional<std::string_view>& text) {
  if (!text) return std::nullopt;
  return std::string(*text);
}

Result<EncodedRecord> encode_group(const GroupMetadataRecord& record) {
  auto key = encoded(GroupMetadataKey{record.group}, GroupMetadataKey::kRecordType, kKeyVersion);
  if (!record.value) return joined(std::move(key), std::nullopt);
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
  value.current_state_timestamp = record.value->state_timestamp_ms;
  value.members = members;
  return joined(std::move(key), encoded(value, kGroupMetadataVersion, kGroupMetadataVersion));
}

// The number at the front, which is taken off.
std::optional<int16_t> take_prefix(Bytes& bytes) {
  if (bytes.size() < kPrefixBytes) return std::nullopt;
  const auto value =
      static_cast<int16_t>(std::to_integer<int>(bytes[0]) << 8 | std::to_integer<int>(bytes[1]));
  bytes = bytes.subspan(kPrefixBytes);
  return value;
}

template <class Message>
Result<Message> decoded_value(Bytes bytes, Arena& arena) {
  const auto version = take_prefix(bytes);
  if (!version) return fail(ErrorCode::kInvalidRecord, fmt::format("{} without a version", Message::kName));
  auto message = protocol::decode<Message>(bytes, *version, arena);
  if (!message) return fail(ErrorCode::kInvalidRecord, std::move(message.error().message));
  return message;
}

Result<std::optional<GroupRecord>> decode_commit(Bytes key_bytes, std::optional<Bytes> value_bytes,
                                                 Arena& arena) {
  const auto key = protocol::decode<OffsetCommitKey>(key_bytes, kKeyVersion, arena);
  if (!key) return fail(ErrorCode::kInvalidRecord, key.error().message);
  OffsetCommitRecord record{std::string(key->group), std::string(key->topic), key->partition, std::nullopt};
  if (value_bytes) {
    const auto value = decoded_value<OffsetCommitValue>(*value_bytes, arena);
    if (!value) return std::unexpected(value.error());
    record.value = CommittedOffset{value->offset,       value->commit_timestamp,      value->expire_timestamp,
                                   value->leader_epoch, std::string(value->metadata), value->topic_id};
  }
  return GroupRecord(std::move(record));
}

Result<std::optional<GroupRecord>> decode_group(Bytes key_bytes, std::optional<Bytes> value_bytes,
                                                Arena& arena) {
  const auto key = protocol::decode<GroupMetadataKey>(key_bytes, kKeyVersion, arena);
  if (!key) return fail(ErrorCode::kInvalidRecord, key.error().message);
  GroupMetadataRecord record{std::string(key->group), std::nullopt};
  if (value_bytes) {
    const auto value = decoded_value<GroupMetadataValue>(*value_bytes, arena);
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

Result<EncodedRecord> encode_record(const GroupRecord& record) {
  if (const auto* commit = std::get_if<OffsetCommitRecord>(&record)) return encode_commit(*commit);
  return encode_group(std::get<GroupMetadataRecord>(record));
}

Result<std::optional<GroupRecord>> decode_record(std::optional<Bytes> key, std::optional<Bytes> value) {
  if (!key) return fail(ErrorCode::kInvalidRecord, "a record without a key");
  const auto type = take_prefix(*key);
  if (!type) return fail(ErrorCode::kInvalidRecord, "a key without a type");
  Arena arena;
  if (*type == OffsetCommitKey::kRecordType || *type == kFormerOffsetCommitType)
    return decode_commit(*key, value, arena);
  if (*type == GroupMetadataKey::kRecordType) return decode_group(*key, value, arena);
  return std::optional<GroupRecord>();
}

}  // namespace millrace::coordinator
