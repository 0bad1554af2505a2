#include "protocol/header.h"

#include <fmt/format.h>

#include "protocol/arena.h"
#include "protocol/reader.h"
#include "protocol/writer.h"

namespace millrace::protocol {
namespace {

bool is_flexible(ApiKey key, int16_t version) {
  const ApiInfo* api = find_api(key);
  return api != nullptr && api->is_flexible(version);
}

std::unexpected<Error> bad_header(const Reader& reader, const char* what) {
  return fail(ErrorCode::kInvalidRequest, fmt::format("{} header: {}", what, reader.error()));
}

// A client id is written in the old way even in the flexible header, whose other part is the tags.
constexpr Field kClientId{.name = "clientId", .nullable = {}};

}  // namespace

int16_t request_header_version(ApiKey key, int16_t version) { return is_flexible(key, version) ? 2 : 1; }

int16_t response_header_version(ApiKey key, int16_t version) {
  return key != ApiKey::kApiVersions && is_flexible(key, version) ? 1 : 0;
}

Result<RequestHeader> decode_request_header(Bytes frame, Bytes& body) {
  Arena arena(0);
  Reader reader(frame, 0, false, arena);
  RequestHeader header;
  header.api_key = static_cast<ApiKey>(reader.integer<int16_t>());
  header.api_version = reader.integer<int16_t>();
  header.correlation_id = reader.integer<int32_t>();
  reader.field(header.client_id, kClientId, std::nullopt);
  if (!reader.ok()) return bad_header(reader, "request");
  if (is_flexible(header.api_key, header.api_version)) {
    Reader tags(reader.rest(), 0, true, arena);
    tags.tags([](auto&) {});
    if (!tags.ok()) return bad_header(tags, "request");
    body = tags.rest();
  } else {
    body = reader.rest();
  }
  return header;
}

Result<> encode(const RequestHeader& header, Writer& writer) {
  writer.begin(0, false);
  writer.integer(static_cast<int16_t>(header.api_key));
  writer.integer(header.api_version);
  writer.integer(header.correlation_id);
  writer.field(header.client_id, kClientId, std::nullopt);
  if (is_flexible(header.api_key, header.api_version)) writer.uvarint(0);
  return writer.end();
}

Result<ResponseHeader> decode_response_header(Bytes frame, ApiKey key, int16_t version, Bytes& body) {
  Arena arena(0);
  Reader reader(frame, 0, response_header_version(key, version) == 1, arena);
  ResponseHeader header;
  header.correlation_id = reader.integer<int32_t>();
  reader.tags([](auto&) {});
  if (!reader.ok()) return bad_header(reader, "response");
  body = reader.rest();
  return header;
}

void encode(const ResponseHeader& header, ApiKey key, int16_t version, Writer& writer) {
  writer.integer(header.correlation_id);
  if (response_header_version(key, version) == 1) writer.uvarint(0);
}

}  // namespace millrace::protocol
