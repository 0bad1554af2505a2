// One connection to one broker: versions agreed on, requests sent, responses read in order.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "protocol/api.h"
#include "protocol/arena.h"
#include "protocol/header.h"
#include "protocol/message.h"
#include "protocol/writer.h"
#include "tools/client/socket.h"

namespace millrace::tools {

using protocol::ApiKey;

struct ClientOptions {
  // Alternatives; the first that answers is used.
  std::vector<Address> bootstrap;
  std::string client_id = "millrace";
  int64_t connect_timeout_ms = 5'000;
  // How long one answer may take, and how long a retriable failure is tried again.
  int64_t timeout_ms = 30'000;
  // Hears of a failure that is tried again for longer than a moment, and for how long it is at most; once,
  // and then of its end (null).
  std::function<void(const Error*, int64_t limit_ms)> on_outage;
};

// A decoded response, with the memory that its views point into.
template <class Message>
struct Reply {
  Buffer frame;
  std::unique_ptr<Arena> arena;
  Message message;

  const Message* operator->() const { return &message; }
};

struct VersionRange {
  int16_t min = 0;
  int16_t max = -1;
};

struct Feature {
  std::string name;
  int16_t min_level = 0;
  int16_t max_level = 0;
};

class Connection {
 public:
  // A response as it came: the frame, and the part of it after the header.
  struct Response {
    int32_t correlation_id = 0;
    ApiKey api{};
    int16_t version = 0;
    Buffer frame;
    size_t body_at = 0;
    Bytes body() const { return Bytes(frame).subspan(body_at); }
  };

  // Connects and asks for the broker's versions (KIP-35, KIP-511). Errors: those of Socket::connect;
  // kNetworkException when what answers is no Kafka broker. `limit_ms` is for the whole, where the options'
  // timeouts are longer.
  static Result<std::unique_ptr<Connection>> open(const Address& address, const ClientOptions& options,
                                                  int64_t limit_ms = INT32_MAX);

  const Address& address() const { return address_; }
  int fd() const { return socket_.fd(); }

  // The highest version that both sides know, at most `limit`; kUnsupportedVersion names API and ranges.
  Result<int16_t> version_of(ApiKey api, int16_t limit = INT16_MAX) const;
  const std::map<ApiKey, VersionRange>& broker_versions() const { return versions_; }
  const std::vector<Feature>& finalized_features() const { return features_; }

  // Sends a request and returns its correlation id. `expects_response` is false for Produce with acks=0.
  template <class Request>
  Result<int32_t> send(const Request& request, int16_t version, bool expects_response = true) {
    protocol::Writer writer(kTypicalRequest);
    if (Result<void> begun = begin_request(writer, Request::kApi, version); !begun)
      return std::unexpected(begun.error());
    if (Result<void> encoded = encode(request, version, writer); !encoded)
      return std::unexpected(encoded.error());
    return send_frame(writer, Request::kApi, version, expects_response);
  }

  // The oldest outstanding request's response. kRequestTimedOut when it isn't there by the deadline: what
  // came of it is kept, so receive may be called again. A connection that failed otherwise is of no more use.
  Result<Response> receive(Deadline deadline);
  size_t outstanding() const { return outstanding_.size(); }

  // Sends and waits, at most `limit_ms` where the options' timeout is longer. Needs outstanding() == 0.
  template <class Answer, class Request>
  Result<Reply<Answer>> call(const Request& request, int16_t version, int64_t limit_ms = INT32_MAX) {
    Result<int32_t> sent = send(request, version);
    if (!sent) return std::unexpected(sent.error());
    Result<Response> response = receive(Deadline::after_ms(std::min(options_.timeout_ms, limit_ms)));
    if (!response) return std::unexpected(response.error());
    return parse<Answer>(std::move(*response));
  }

  template <class Answer>
  static Result<Reply<Answer>> parse(Response response) {
    auto arena = std::make_unique<Arena>(Arena::limit_for_frame(response.frame.size()));
    Result<Answer> message = protocol::decode<Answer>(response.body(), response.version, *arena);
    if (!message) return std::unexpected(message.error());
    return Reply<Answer>{std::move(response.frame), std::move(arena), std::move(*message)};
  }

 private:
  static constexpr size_t kTypicalRequest = 512;

  Connection(Address address, const ClientOptions& options, Socket socket)
      : address_(std::move(address)), options_(options), socket_(std::move(socket)) {}

  Result<void> begin_request(protocol::Writer& writer, ApiKey api, int16_t version);
  Result<int32_t> send_frame(protocol::Writer& writer, ApiKey api, int16_t version, bool expects_response);
  Result<void> negotiate(Deadline deadline);
  std::unexpected<Error> with_address(Error error) const;

  struct Outstanding {
    int32_t correlation_id;
    ApiKey api;
    int16_t version;
  };

  Address address_;
  ClientOptions options_;
  Socket socket_;
  int32_t next_correlation_id_ = 1;
  std::deque<Outstanding> outstanding_;
  std::map<ApiKey, VersionRange> versions_;
  std::vector<Feature> features_;

  // The frame being read: its length first, then its bytes.
  std::array<std::byte, 4> length_{};
  size_t length_got_ = 0;
  Buffer frame_;
  size_t frame_got_ = 0;
};

}  // namespace millrace::tools
