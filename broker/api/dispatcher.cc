#include "broker/api/dispatcher.h"

#include <fmt/format.h>

#include "broker/api/api_table.h"
#include "broker/api/request_limits.h"
#include "broker/api/request_metrics.h"
#include "protocol/header.h"
#include "protocol/messages/api_versions.h"
#include "protocol/writer.h"

namespace millrace::api {
namespace {

using protocol::ApiKey;

net::Response assemble(protocol::Writer& writer, Context& context) {
  net::Response response;
  for (const protocol::Splice& splice : writer.splices()) {
    response.splices.push_back({.at = splice.at, .slice = std::move(context.slices[splice.id])});
  }
  response.bytes = writer.take();
  response.send = context.respond;
  response.close = !context.close_reason.empty();
  response.close_reason = std::move(context.close_reason);
  return response;
}

// A client that is newer than we are asks with its newest version and learns from this answer what to use
// (KIP-511).
net::Response answer_unsupported_api_versions(int32_t correlation_id) {
  const ApiRow& row = *find_api(static_cast<int16_t>(ApiKey::kApiVersions));
  protocol::ApiVersionsResponse::Api range;
  range.api_key = static_cast<int16_t>(row.key);
  range.min_version = row.min_version;
  range.max_version = row.max_version;
  protocol::ApiVersionsResponse body;
  body.error_code = ErrorCode::kUnsupportedVersion;
  body.api_keys = {&range, 1};
  protocol::Writer writer;
  encode(protocol::ResponseHeader{correlation_id}, ApiKey::kApiVersions, 0, writer);
  net::Response response;
  if (auto encoded = encode(body, 0, writer); !encoded)
    return net::Response::closing(encoded.error().message);
  response.bytes = writer.take();
  return response;
}

std::string unsupported(const net::Request& request) {
  const ApiRow* row = find_api(request.api_key);
  if (row == nullptr) return fmt::format("API key {} is not served here", request.api_key);
  return fmt::format("{} version {} is not served here, only {} to {}", protocol::api_name(row->key),
                     request.api_version, row->min_served_version, row->max_version);
}

// Of some fifty positions. One with many elements, of a byte each at least, would wait for memory before it
// gets to its group, and others would overtake it.
constexpr size_t kSmallCommitBytes = 1024;
static_assert(kSmallCommitBytes <= RequestLimits::kFewElements);

}  // namespace

runtime::Task<net::Response> Dispatcher::handle(net::Request& request) {
  const ApiRow* row = find_api(request.api_key);
  const bool served = row != nullptr && row->min_served_version <= request.api_version &&
                      request.api_version <= row->max_version;
  if (!served && (row == nullptr || row->key != ApiKey::kApiVersions)) {
    co_return net::Response::closing(unsupported(request));
  }
  Bytes body;
  const auto header = protocol::decode_request_header(request.frame, body);
  if (!header) co_return net::Response::closing("bad request header: " + header.error().message);
  if (!served) co_return answer_unsupported_api_versions(header->correlation_id);

  Arena arena = RequestLimits::arena_for(request.frame.size(), RequestLimits::kFewElements);
  Context context{.services = services_,
                  .request = request,
                  .arena = arena,
                  .api_key = row->key,
                  .version = request.api_version,
                  .client_id = header->client_id};
  protocol::Writer writer;
  encode(protocol::ResponseHeader{header->correlation_id}, row->key, request.api_version, writer);
  const MutableBytes own_body = request.frame.last(body.size());
  const Result<> handled = co_await row->handler(context, own_body, writer);
  if (!handled) {
    co_return net::Response::closing(fmt::format("{} version {}: {}", protocol::api_name(row->key),
                                                 request.api_version, handled.error().message));
  }
  services_.metrics.observe(request);
  co_return assemble(writer, context);
}

// A member's JoinGroup waits for all others. What it has handled meanwhile it may commit: it still has its
// partitions (KIP-429), and its generation lasts until the last one joins. Apache Kafka handles the commit
// after the join and refuses it, and librdkafka 2.0 then gives up what it has and joins anew, again and
// again.
bool Dispatcher::may_overlap(const Outline& before, const Outline& next) const {
  const auto earlier = static_cast<ApiKey>(before.api_key);
  switch (static_cast<ApiKey>(next.api_key)) {
    case ApiKey::kProduce:
      return earlier == ApiKey::kProduce;
    case ApiKey::kOffsetCommit:
      return earlier == ApiKey::kJoinGroup ||
             (earlier == ApiKey::kOffsetCommit && before.frame_bytes <= kSmallCommitBytes);
    default:
      return false;
  }
}

}  // namespace millrace::api
