#include "tools/client/connection.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocol/messages/api_versions.h"

namespace millrace::tools {
namespace {

// Above any answer we ask for; what isn't Kafka answers with text, which reads as a length far above this.
constexpr uint32_t kMaxFrame = 512u << 20;

uint32_t read_length(const std::array<std::byte, 4>& bytes) {
  uint32_t length = 0;
  for (const std::byte byte : bytes) length = length << 8 | std::to_integer<uint32_t>(byte);
  return length;
}

}  // namespace

Result<std::unique_ptr<Connection>> Connection::open(const Address& address, const ClientOptions& options,
                                                     int64_t limit_ms) {
  const Deadline limit = Deadline::after_ms(limit_ms);
  const Deadline connected = Deadline::after_ms(options.connect_timeout_ms);
  Result<Socket> socket = Socket::connect(address, std::min(limit, connected));
  if (!socket) return std::unexpected(socket.error());
  std::unique_ptr<Connection> connection(new Connection(address, options, std::move(*socket)));
  if (Result<void> agreed = connection->negotiate(limit); !agreed) return std::unexpected(agreed.error());
  return connection;
}

std::unexpected<Error> Connection::with_address(Error error) const {
  return fail(error.code, fmt::format("{}: {}", address_.to_string(), error.message));
}

Result<void> Connection::negotiate(Deadline deadline) {
  protocol::ApiVersionsRequest request;
  request.client_software_name = "millrace";
  request.client_software_version = MILLRACE_VERSION;
  int16_t version = protocol::find_api(ApiKey::kApiVersions)->max_version;
  while (true) {
    if (Result<int32_t> sent = send(request, version); !sent) return std::unexpected(sent.error());
    const int64_t wait_ms = std::min(options_.timeout_ms, options_.connect_timeout_ms);
    Result<Response> response = receive(std::min(deadline, Deadline::after_ms(wait_ms)));
    if (!response) {
      return fail(response.error().code,
                  response.error().message +
                      "; is this a Kafka broker's plain-text port? (One that has just been started may "
                      "still be reading its logs)");
    }
    // A broker that doesn't know our version says so in the layout of version 0 (KIP-511).
    const Bytes body = response->body();
    const bool refused = body.size() >= 2 && body[0] == std::byte{0} &&
                         body[1] == std::byte{static_cast<unsigned char>(ErrorCode::kUnsupportedVersion)};
    if (refused) {
      if (version == 0)
        return with_address(
            {ErrorCode::kUnsupportedVersion, "the broker refuses every version of ApiVersions"});
      response->version = 0;
    }
    Result<Reply<protocol::ApiVersionsResponse>> reply =
        parse<protocol::ApiVersionsResponse>(std::move(*response));
    if (!reply)
      return with_address({ErrorCode::kNetworkException, "not a Kafka broker: " + reply.error().message});
    for (const auto& api : (*reply)->api_keys) {
      versions_[static_cast<ApiKey>(api.api_key)] = {api.min_version, api.max_version};
    }
    if (refused) {
      const auto known = versions_.find(ApiKey::kApiVersions);
      const int16_t theirs = known == versions_.end() ? int16_t{0} : known->second.max;
      version = std::min<int16_t>(static_cast<int16_t>(version - 1), theirs);
      versions_.clear();
      continue;
    }
    if ((*reply)->error_code != ErrorCode::kNone) {
      return with_address({(*reply)->error_code, std::string(error_name((*reply)->error_code))});
    }
    for (const auto& feature : (*reply)->finalized_features) {
      features_.push_back({std::string(feature.name), feature.min_version_level, feature.max_version_level});
    }
    return {};
  }
}

Result<int16_t> Connection::version_of(ApiKey api, int16_t limit) const {
  const protocol::ApiInfo* ours = protocol::find_api(api);
  const auto theirs = versions_.find(api);
  const std::string_view name = protocol::api_name(api);
  if (theirs == versions_.end()) {
    return fail(ErrorCode::kUnsupportedVersion,
                fmt::format("the broker at {} doesn't have {}", address_.to_string(), name));
  }
  const int16_t version = std::min({ours->max_version, theirs->second.max, limit});
  if (version >= ours->min_version && version >= theirs->second.min) return version;
  return fail(ErrorCode::kUnsupportedVersion,
              fmt::format("the broker at {} has {} in versions {} to {}, this program in {} to {}",
                          address_.to_string(), name, theirs->second.min, theirs->second.max,
                          ours->min_version, ours->max_version));
}

Result<void> Connection::begin_request(protocol::Writer& writer, ApiKey api, int16_t version) {
  writer.integer<int32_t>(0);
  protocol::RequestHeader header;
  header.api_key = api;
  header.api_version = version;
  header.correlation_id = next_correlation_id_;
  header.client_id = options_.client_id;
  return protocol::encode(header, writer);
}

Result<int32_t> Connection::send_frame(protocol::Writer& writer, ApiKey api, int16_t version,
                                       bool expects_response) {
  writer.patch_int32(0, static_cast<int32_t>(writer.size() - 4));
  const Bytes frame = writer.written();
  if (Result<void> sent = socket_.send({&frame, 1}, Deadline::after_ms(options_.timeout_ms)); !sent) {
    return with_address(sent.error());
  }
  const int32_t correlation_id = next_correlation_id_++;
  if (expects_response) outstanding_.push_back({correlation_id, api, version});
  return correlation_id;
}

Result<Connection::Response> Connection::receive(Deadline deadline) {
  while (length_got_ < length_.size() || frame_got_ < frame_.size()) {
    const bool in_length = length_got_ < length_.size();
    const MutableBytes place =
        in_length ? MutableBytes(length_).subspan(length_got_) : MutableBytes(frame_).subspan(frame_got_);
    Result<size_t> got = socket_.receive(place, deadline);
    if (!got) return with_address(got.error());
    if (*got == 0) {
      return with_address({ErrorCode::kRequestTimedOut,
                           fmt::format("no answer to {} in time",
                                       protocol::api_name(outstanding_.empty() ? ApiKey::kApiVersions
                                                                               : outstanding_.front().api))});
    }
    (in_length ? length_got_ : frame_got_) += *got;
    if (!in_length || length_got_ < length_.size()) continue;
    const uint32_t length = read_length(length_);
    if (length > kMaxFrame || length < 4) {
      return with_address({ErrorCode::kNetworkException,
                           fmt::format("an answer of {} bytes: this is not Kafka's protocol", length)});
    }
    frame_.resize(length);
    frame_got_ = 0;
  }
  Response response;
  response.frame = std::move(frame_);
  frame_.clear();
  frame_got_ = length_got_ = 0;
  if (outstanding_.empty())
    return with_address({ErrorCode::kNetworkException, "an answer that nobody asked for"});
  const Outstanding expected = outstanding_.front();
  outstanding_.pop_front();
  Bytes body;
  Result<protocol::ResponseHeader> header =
      protocol::decode_response_header(response.frame, expected.api, expected.version, body);
  if (!header) return with_address(header.error());
  if (header->correlation_id != expected.correlation_id) {
    return with_address({ErrorCode::kNetworkException, "answers out of order"});
  }
  response.correlation_id = expected.correlation_id;
  response.api = expected.api;
  response.version = expected.version;
  response.body_at = response.frame.size() - body.size();
  return response;
}

}  // namespace millrace::tools
