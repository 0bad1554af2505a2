// How records of __consumer_offsets are put together: a key starts with the type of the record, a value with
// its version, both before the message.
#pragma once

#include <fmt/format.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "broker/coordinator/group_record_codec.h"
#include "protocol/arena.h"
#include "protocol/message.h"
#include "protocol/reader.h"
#include "protocol/writer.h"

namespace millrace::coordinator {

inline constexpr int16_t kKeyVersion = 0;

template <class Key>
Result<EncodedRecord> encode_tombstone(const Key& key, protocol::Writer& writer) {
  const size_t start = writer.size();
  writer.integer(Key::kRecordType);
  if (auto written = encode(key, kKeyVersion, writer); !written)
    return std::unexpected(std::move(written.error()));
  return EncodedRecord{writer.written().subspan(start), std::nullopt};
}

template <class Key, class Value>
Result<EncodedRecord> encode_pair(const Key& key, const Value& value, int16_t version,
                                  protocol::Writer& writer) {
  const size_t start = writer.size();
  const auto tombstone = encode_tombstone(key, writer);
  if (!tombstone) return tombstone;
  const size_t key_bytes = tombstone->key.size();
  writer.integer(version);
  if (auto written = encode(value, version, writer); !written)
    return std::unexpected(std::move(written.error()));
  // Only now: the writer's memory may have moved.
  const Bytes record = writer.written().subspan(start);
  return EncodedRecord{record.first(key_bytes), record.subspan(key_bytes)};
}

// The number at the front, which is taken off.
inline std::optional<int16_t> take_prefix(Bytes& bytes) {
  if (bytes.size() < sizeof(int16_t)) return std::nullopt;
  const auto value =
      static_cast<int16_t>(std::to_integer<int>(bytes[0]) << 8 | std::to_integer<int>(bytes[1]));
  bytes = bytes.subspan(sizeof(int16_t));
  return value;
}

// A key without its type.
template <class Key>
Result<Key> decode_key(Bytes bytes, Arena& arena) {
  auto key = protocol::decode<Key>(bytes, kKeyVersion, arena);
  if (!key) return fail(ErrorCode::kInvalidRecord, std::move(key.error().message));
  return key;
}

template <class Message>
Result<Message> decode_value(Bytes bytes, Arena& arena) {
  const auto version = take_prefix(bytes);
  if (!version) return fail(ErrorCode::kInvalidRecord, fmt::format("{} without a version", Message::kName));
  auto message = protocol::decode<Message>(bytes, *version, arena);
  if (!message) return fail(ErrorCode::kInvalidRecord, std::move(message.error().message));
  return message;
}

inline std::optional<std::string_view> view(const std::optional<std::string>& text) {
  if (!text) return std::nullopt;
  return std::string_view(*text);
}

inline std::optional<std::string> owned(const std::optional<std::string_view>& text) {
  if (!text) return std::nullopt;
  return std::string(*text);
}

}  // namespace millrace::coordinator
