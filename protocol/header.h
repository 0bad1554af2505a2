// The headers before each request and response. Their own version follows from the API and its version:
// a flexible request has tagged fields in its header too, and so has its response, with one exception.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "protocol/api.h"
#include "protocol/bytes.h"
#include "protocol/result.h"

namespace millrace::protocol {

class Writer;

struct RequestHeader {
  ApiKey api_key{};
  int16_t api_version = 0;
  int32_t correlation_id = 0;
  std::optional<std::string_view> client_id;
};

struct ResponseHeader {
  int32_t correlation_id = 0;
};

// Reads the header at the start of a frame (after its length) and leaves the request's body in `body`.
// Fails with kInvalidRequest when the bytes end early. A key or a version that the schema doesn't describe
// is no failure: the caller has its own answer to it (for ApiVersions a response), `body` is then of no use.
Result<RequestHeader> decode_request_header(Bytes frame, Bytes& body);
// Appends; fails with kUnsupportedVersion for a client id of more than 32767 bytes.
Result<> encode(const RequestHeader& header, Writer& writer);

// Reads the header at the start of a response to a request of this API and version (KIP-482); an ApiVersions
// response's header never has tagged fields, so that a client can read it before it knows the version.
Result<ResponseHeader> decode_response_header(Bytes frame, ApiKey key, int16_t version, Bytes& body);
void encode(const ResponseHeader& header, ApiKey key, int16_t version, Writer& writer);

// Version of the request header: 2 for flexible requests, 1 for others.
int16_t request_header_version(ApiKey key, int16_t version);
// Version of the response header: 1 for flexible responses, 0 for others and always for ApiVersions.
int16_t response_header_version(ApiKey key, int16_t version);

}  // namespace millrace::protocol
