// Records of the group coordinator in Kafka's own formats: what lies in __consumer_offsets, so that Kafka's
// tools can read it and a broker of Kafka's could go on with it. A key starts with the type of the record, a
// value with its version.
#pragma once

#include <optional>

#include "broker/coordinator/group_record.h"
#include "protocol/batch_builder.h"
#include "protocol/bytes.h"
#include "protocol/result.h"
#include "protocol/writer.h"

namespace millrace::coordinator {

struct EncodedRecord {
  Bytes key;
  std::optional<Bytes> value;  // nothing: a tombstone
};

// Appended to `writer`, as views of it until it grows further or is cleared. Written as Kafka 4.3 does:
// GroupMetadataValue 3, OffsetCommitValue 4 (1 when the client asked for its own retention). Fails with
// kInvalidRequest for what the format can't hold (a text of more than 32767 bytes). `wall_ahead_ms` is how
// far the wall clock, by which they are kept and others read them, is ahead of the clock of the timestamps of
// commits and groups.
Result<EncodedRecord> encode_record(const GroupRecord& record, protocol::Writer& writer,
                                    int64_t wall_ahead_ms = 0);

// Appends the records that `commit` stands for to `batch`, with this timestamp, encoded as encode_record()
// does. `writer` is cleared, and takes what they are made of. Fails as that does, with some of them appended.
Result<> append_records(const CommittedPositions& commit, protocol::BatchBuilder& batch, int64_t timestamp_ms,
                        protocol::Writer& writer, int64_t wall_ahead_ms = 0);

// Reads any version of both record types, and commits of type 0 (before Kafka 0.10). Nothing for types that
// belong to other kinds of groups. Fails with kInvalidRecord for a record that can't be read.
Result<std::optional<GroupRecord>> decode_record(std::optional<Bytes> key, std::optional<Bytes> value);

}  // namespace millrace::coordinator
