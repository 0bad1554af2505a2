// A broker for the client's tests, whose answers are the test's: one thread per connection, on loopback.
#pragma once

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "protocol/messages/api_versions.h"
#include "protocol/messages/metadata.h"
#include "tools/client/cluster.h"

namespace millrace::tools::test {

class FakeBroker {
 public:
  // Returns the answer's body, an empty one for no answer, or nothing to close the connection.
  using Handler = std::function<std::optional<Buffer>(int16_t version, Bytes body)>;

  FakeBroker() {
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    socklen_t size = sizeof address;
    REQUIRE(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
    REQUIRE(listen(listener_, 8) == 0);
    acceptor_ = std::thread([this] { accept_all(); });
  }

  ~FakeBroker() {
    shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    close(listener_);
    for (const int fd : connections_) shutdown(fd, SHUT_RDWR);
    for (std::thread& thread : threads_) thread.join();
    for (const int fd : connections_) close(fd);
  }

  uint16_t port() const { return port_; }
  ClientOptions options(int64_t timeout_ms = 20'000) const {
    ClientOptions options;
    options.bootstrap = {{"127.0.0.1", port_}};
    options.timeout_ms = timeout_ms;
    return options;
  }

  // Before the first connection only.
  void on(ApiKey api, int16_t max_version, Handler handler) {
    handlers_[api] = std::move(handler);
    versions_[api] = max_version;
  }
  template <class Message>
  static Buffer encoded(const Message& message, int16_t version) {
    protocol::Writer writer;
    const Result<> written = encode(message, version, writer);
    if (!written) throw std::runtime_error(written.error().message);
    return writer.take();
  }

  // Answers ApiVersions and Metadata as one broker that leads all partitions of topic "t".
  void serve_topic(int32_t partitions) {
    on(ApiKey::kApiVersions, 3, [this](int16_t version, Bytes) { return versions(version); });
    on(ApiKey::kMetadata, 9,
       [this, partitions](int16_t version, Bytes) { return metadata(version, partitions); });
  }

  std::optional<Buffer> versions(int16_t version) const {
    protocol::ApiVersionsResponse answer;
    std::vector<protocol::ApiVersionsResponse::Api> apis;
    for (const auto& [api, max] : versions_) {
      auto& entry = apis.emplace_back();
      entry.api_key = static_cast<int16_t>(api);
      entry.max_version = max;
    }
    answer.api_keys = apis;
    if (version > versions_.at(ApiKey::kApiVersions)) {
      answer.error_code = ErrorCode::kUnsupportedVersion;
      version = 0;
    }
    return encoded(answer, version);
  }

 private:
  std::optional<Buffer> metadata(int16_t version, int32_t partitions) const {
    using Answer = protocol::MetadataResponse;
    Answer answer;
    std::vector<Answer::Broker> brokers(1);
    brokers[0].node_id = 1;
    brokers[0].host = "127.0.0.1";
    brokers[0].port = port_;
    answer.brokers = brokers;
    std::vector<Answer::Topic> topics(1);
    topics[0].name = "t";
    std::vector<Answer::Topic::Partition> list(static_cast<size_t>(partitions));
    for (int32_t i = 0; i < partitions; ++i) {
      list[static_cast<size_t>(i)].partition_index = i;
      list[static_cast<size_t>(i)].leader_id = 1;
    }
    topics[0].partitions = list;
    answer.topics = topics;
    return encoded(answer, version);
  }

  void accept_all() {
    while (true) {
      const int fd = accept(listener_, nullptr, nullptr);
      if (fd < 0) return;
      connections_.push_back(fd);
      threads_.emplace_back([this, fd] { serve(fd); });
    }
  }

  static bool read_exactly(int fd, MutableBytes out) {
    for (size_t got = 0; got < out.size();) {
      const ssize_t size = recv(fd, out.data() + got, out.size() - got, 0);
      if (size <= 0) return false;
      got += static_cast<size_t>(size);
    }
    return true;
  }

  void serve(int fd) {
    uint32_t length = 0;
    while (read_exactly(fd, {reinterpret_cast<std::byte*>(&length), 4})) {
      Buffer frame(ntohl(length));
      if (!read_exactly(fd, frame)) return;
      Bytes body;
      const Result<protocol::RequestHeader> header = protocol::decode_request_header(frame, body);
      if (!header) return;
      std::optional<Buffer> answer;
      {
        const std::lock_guard lock(mutex_);
        const auto handler = handlers_.find(header->api_key);
        if (handler != handlers_.end()) answer = handler->second(header->api_version, body);
      }
      if (!answer) {
        shutdown(fd, SHUT_RDWR);
        return;
      }
      // Produce with acks 0.
      if (answer->empty()) continue;
      protocol::Writer writer;
      writer.integer<int32_t>(0);
      protocol::encode(protocol::ResponseHeader{header->correlation_id}, header->api_key, header->api_version,
                       writer);
      writer.append(*answer);
      writer.patch_int32(0, static_cast<int32_t>(writer.size() - 4));
      const Bytes out = writer.written();
      if (send(fd, out.data(), out.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(out.size())) return;
    }
  }

  int listener_ = -1;
  uint16_t port_ = 0;
  std::mutex mutex_;
  std::map<ApiKey, Handler> handlers_;
  std::map<ApiKey, int16_t> versions_;
  std::thread acceptor_;
  std::vector<int> connections_;
  std::vector<std::thread> threads_;
};

}  // namespace millrace::tools::test
