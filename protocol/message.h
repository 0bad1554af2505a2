// What every generated message header shares. Each message M comes with
//
//   template <> Result<M> decode<M>(Bytes in, int16_t version, Arena& arena);
//     Views in M point into `in`, arrays live in `arena`. The whole of `in` must be the message: else
//     kInvalidRequest; only a request may have more behind it, which Kafka reads over. kUnsupportedVersion
//     for a version that the schema doesn't have. Messages say where.
//   Result<> encode(const M&, int16_t version, Writer&);
//     Appends to the writer. Fails with kUnsupportedVersion, having written nothing, when a field's value
//     can't be said in this version and the schema doesn't let it be dropped.
//   std::string to_json(const M&, int16_t version);
//     As Kafka's request log prints it: see printer.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/array.h"
#include "protocol/bytes.h"
#include "protocol/error_code.h"
#include "protocol/field.h"
#include "protocol/records.h"
#include "protocol/result.h"
#include "protocol/uuid.h"

namespace millrace {
class Arena;
}

namespace millrace::protocol {

class Writer;

template <class Message>
Result<Message> decode(Bytes in, int16_t version, Arena& arena);

}  // namespace millrace::protocol
