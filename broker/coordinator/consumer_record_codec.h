// The records of consumer groups (KIP-848) in Kafka's own formats; group_record_codec.h is the way to them.
#pragma once

#include <cstdint>
#include <optional>

#include "broker/coordinator/group_record_codec.h"
#include "protocol/arena.h"

namespace millrace::coordinator {

// For any record but the two that group_record_codec.cc knows itself.
Result<EncodedRecord> encode_consumer_record(const GroupRecord& record, protocol::Writer& writer);

// `key` is what follows its type. Nothing for types that belong to other kinds of groups. Fails with
// kInvalidRecord for a record that can't be read.
Result<std::optional<GroupRecord>> decode_consumer_record(int16_t type, Bytes key, std::optional<Bytes> value,
                                                          Arena& arena);

}  // namespace millrace::coordinator
