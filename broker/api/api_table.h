// All APIs that the broker serves: from this one table come dispatch, ApiVersions and the request fuzzer's
// targets.
//
// To add an API: its schema in protocol/schema, its handler in a file here, a row in api_table.cc, a test.
#pragma once

#include <cstdint>
#include <span>

#include "broker/api/context.h"
#include "broker/runtime/task.h"
#include "protocol/api.h"
#include "protocol/bytes.h"
#include "protocol/result.h"
#include "protocol/writer.h"

namespace millrace::api {

// Decodes the body, handles it and writes the response body. Fails, with words for the log, when the body
// can't be decoded; then the connection is closed.
using Handler = runtime::Task<Result<>> (*)(Context& context, MutableBytes body, protocol::Writer& out);

struct ApiRow {
  protocol::ApiKey key;
  int16_t min_version;  // advertised
  int16_t max_version;
  int16_t min_served_version;  // above min_version only for Produce, see protocol facts in api_table.cc
  Handler handler;
};

// By key, ascending.
std::span<const ApiRow> api_table();

// The row of that key, nullptr when it isn't served.
const ApiRow* find_api(int16_t key);

}  // namespace millrace::api
