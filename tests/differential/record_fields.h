// Record batches as JSON, so that what was fetched can be compared: header fields, records, and the bytes'
// checksum.
#pragma once

#include "protocol/bytes.h"
#include "protocol/messages/fetch.h"
#include "tests/differential/json_value.h"

namespace millrace::differential {

// How much of a batch must be equal.
enum class BatchComparison {
  kBytes,     // every byte; of a batch with LogAppendTime all but that time and the checksum
  kContents,  // the records: the broker compressed them anew, with an encoder of its own
};

// An array with an element per whole batch, and one for what is left of an incomplete one.
Json batches_json(Bytes records, BatchComparison how);

// Adds "batches" to each partition of the answer's JSON.
void add_batches(const protocol::FetchResponse& response, BatchComparison how, Json& json);

}  // namespace millrace::differential
