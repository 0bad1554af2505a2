// The ids that classic members get: made of what they call themselves, and told apart by a UUID.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "broker/coordinator/group_messages.h"
#include "protocol/uuid.h"

namespace millrace::coordinator {

// The bytes that an id has room for before its UUID: more could neither be stored nor told, for a text is of
// at most 32,767 bytes.
inline constexpr size_t kMaxMemberIdPrefix = INT16_MAX - 37;

// Whether an id can be made for who joins so, if it has none: of its instance id or its client id.
bool has_room_for_member_id(const JoinGroup& join);

// An id as a line of the log shows it: of any bytes, and not all of a long one.
std::string loggable(std::string_view id);

// "prefix-UUID", in the form of Java's UUID, as Kafka's member ids have it.
std::string member_id(std::string_view prefix, const Uuid& uuid);

}  // namespace millrace::coordinator
