// A whole broker in this process, on a free port and a directory of its own, and a client that speaks raw
// requests.
#pragma once

#include <catch2/catch.hpp>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/server.h"
#include "protocol/arena.h"
#include "protocol/batch_builder.h"
#include "protocol/header.h"
#include "protocol/message.h"
#include "protocol/writer.h"

namespace millrace::api {

class TestBroker {
 public:
  using Settings = std::vector<std::pair<std::string, std::string>>;

  explicit TestBroker(Settings settings = {});
  ~TestBroker();

  uint16_t port() const { return server_->ports().front(); }
  broker::Server& server() { return *server_; }
  const std::filesystem::path& directory() const { return directory_; }
  void restart();

 private:
  void start();

  Settings settings_;
  std::filesystem::path directory_;
  std::unique_ptr<broker::Server> server_;
};

// A blocking connection.
class TestClient {
 public:
  explicit TestClient(uint16_t port);
  ~TestClient();
  TestClient(const TestClient&) = delete;

  void send_frame(Bytes frame);
  // The next response's bytes after its length; nothing when the broker has closed the connection.
  std::optional<Buffer> receive_frame();

  template <class Request>
  void send(const Request& request, int16_t version) {
    protocol::Writer writer;
    REQUIRE(encode(protocol::RequestHeader{Request::kApi, version, ++correlation_id_, "test"}, writer));
    REQUIRE(encode(request, version, writer));
    send_frame(writer.written());
  }

  // The response's views live as long as this client's next receive().
  template <class Response>
  Response receive(protocol::ApiKey key, int16_t version) {
    auto frame = receive_frame();
    REQUIRE(frame);
    frame_ = std::move(*frame);
    Bytes body;
    const auto header = protocol::decode_response_header(frame_, key, version, body);
    REQUIRE(header);
    received_id_ = header->correlation_id;
    auto response = protocol::decode<Response>(body, version, arena_);
    INFO((response ? std::string() : response.error().message));
    REQUIRE(response);
    return *response;
  }

  template <class Response, class Request>
  Response call(const Request& request, int16_t version) {
    send(request, version);
    auto response = receive<Response>(Request::kApi, version);
    CHECK(received_id_ == correlation_id_);
    return response;
  }

  int32_t received_id() const { return received_id_; }
  Arena& arena() { return arena_; }

 private:
  int fd_ = -1;
  int32_t correlation_id_ = 0;
  int32_t received_id_ = -1;
  Buffer frame_;
  Arena arena_;
};

// Of every record of batch_of.
constexpr int64_t kTimestampMs = 1'700'000'000'000;

// One batch of these values, without keys.
Buffer batch_of(const std::vector<std::string>& values, const protocol::BatchOptions& options = {});

}  // namespace millrace::api
