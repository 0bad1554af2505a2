// Records as JSON lines. What `consume --json` writes, `produce --json` reads.
//
//   {"topic":"t","partition":0,"offset":7,"timestamp":1764000000000,"timestamp_type":"create","key":"k",
//    "value":"v","headers":[{"name":"a","value":"1"}]}
//
// Bytes that aren't UTF-8 stand under "key_base64", "value_base64" (also in headers) in place of "key",
// "value".
#pragma once

#include <string>
#include <string_view>

#include "protocol/result.h"
#include "tools/record.h"

namespace millrace::tools {

// Adds one line, line feed included.
void append_record_json(std::string& out, const ConsumedRecord& record);

// Reads one line. Every member may be missing; "timestamp" is milliseconds or ISO 8601; "headers" is a list
// as above or an object; a "key" or "value" that is no string counts as the JSON text that it is. Members
// that only a broker sets (topic, offset, ...) are passed over. kInvalidRequest says what is wrong.
Result<InputRecord> read_record_json(std::string_view line);

}  // namespace millrace::tools
