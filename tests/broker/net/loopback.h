// A blocking client on loopback and a broker's network layer around a handler, for tests.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "broker/net/connection_group.h"
#include "broker/net/listener.h"
#include "broker/net/request_handler.h"
#include "broker/runtime/metrics.h"
#include "broker/runtime/shard_group.h"

namespace millrace::net::testing {

// Far longer than anything here takes: a test that would hang fails instead.
inline constexpr int kPatienceMs = 20'000;

inline void put_int(std::string& out, uint64_t value, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(value >> (8 * i));
}

inline uint32_t get_uint32(const std::string& in, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = (value << 8) | static_cast<uint8_t>(in[at + i]);
  return value;
}

// Length, api key, version 0, correlation id, body.
inline std::string request_bytes(int16_t api_key, int32_t correlation_id, const std::string& body = "") {
  std::string out;
  put_int(out, 8 + body.size(), 4);
  put_int(out, static_cast<uint16_t>(api_key), 2);
  put_int(out, 0, 2);
  put_int(out, static_cast<uint32_t>(correlation_id), 4);
  return out + body;
}

class Client {
 public:
  explicit Client(uint16_t port, int receive_buffer = 0) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    if (receive_buffer > 0) {
      ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    }
    const timeval patience{kPatienceMs / 1000, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }
  Client(const Client&) = delete;
  ~Client() { close(); }

  bool connected() const { return connected_; }
  int fd() const { return fd_; }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  void reset() {
    const linger now{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close();
  }
  void half_close() { ::shutdown(fd_, SHUT_WR); }

  // False when the connection ends, or takes nothing for longer than anything here needs.
  bool send(const std::string& bytes) {
    size_t sent = 0;
    while (sent < bytes.size()) {
      const ssize_t n = ::send(fd_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return false;
      sent += static_cast<size_t>(n);
    }
    return true;
  }
  // What can be sent without blocking.
  size_t send_some(const std::string& bytes) {
    const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return n < 0 ? 0 : static_cast<size_t>(n);
  }
  // Exactly so many bytes, fewer when the connection ends.
  std::string receive(size_t size) {
    std::string out;
    while (out.size() < size && readable(kPatienceMs)) {
      char chunk[65536];
      const ssize_t n = ::recv(fd_, chunk, std::min(sizeof(chunk), size - out.size()), 0);
      if (n <= 0) break;
      out.append(chunk, static_cast<size_t>(n));
    }
    return out;
  }
  // A whole response without its length; nothing when the connection ends first.
  std::optional<std::string> receive_response() {
    const std::string length = receive(4);
    if (length.size() < 4) return std::nullopt;
    std::string body = receive(get_uint32(length, 0));
    if (body.size() < get_uint32(length, 0)) return std::nullopt;
    return body;
  }
  bool readable(int timeout_ms) {
    pollfd source{fd_, POLLIN, 0};
    return ::poll(&source, 1, timeout_ms) == 1;
  }
  // Whether the other side ends the connection (cleanly or not) without sending anything more.
  bool is_ended() {
    char byte;
    return readable(kPatienceMs) && ::recv(fd_, &byte, 1, 0) <= 0;
  }

 private:
  int fd_;
  bool connected_ = false;
};

using Handle = std::function<runtime::Task<Response>(Request&)>;

class FunctionHandler final : public RequestHandler {
 public:
  explicit FunctionHandler(Handle handle) : handle_(std::move(handle)) {}
  runtime::Task<Response> handle(Request& request) override { return handle_(request); }
  // Those of the same even API if the first is short, and API 8 behind API 11.
  bool may_overlap(const Outline& before, const Outline& next) const override {
    if (before.api_key == 11 && next.api_key == 8) return true;
    return before.api_key == next.api_key && next.api_key % 2 == 0 && before.frame_bytes < kLongFrameBytes;
  }
  static constexpr size_t kLongFrameBytes = 100;

 private:
  Handle handle_;
};

// The correlation id and the body again.
inline Response echo(const Request& request) {
  Response response;
  response.bytes.assign(request.frame.begin() + 4, request.frame.end());
  return response;
}

inline runtime::Task<Response> echo_task(Request& request) { co_return echo(request); }

inline int32_t correlation_id(const Request& request) {
  return static_cast<int32_t>(get_uint32(std::string(as_text(request.frame)), 4));
}

// Waits for something another thread does.
inline bool eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < kPatienceMs; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

struct Network {
  explicit Network(Handle handle, ConnectionOptions options = {}, size_t shard_count = 2,
                   const runtime::Clock& clock = runtime::SystemClock::instance())
      : handler(std::move(handle)), shards(shard_count, clock, 1), group(shards, handler, options, metrics) {
    ListenAddress address;
    address.host = "127.0.0.1";
    listener = std::move(*Listener::open(address, shards[0]));
    listener->start([this](OwnedFd fd) { group.adopt(std::move(fd), "PLAINTEXT", listener->port()); });
  }
  ~Network() {
    listener->stop();
    group.stop(0);
    shards.stop();
  }
  uint16_t port() const { return listener->port(); }
  uint64_t counter(const std::string& name) { return metrics.counter(name, "").value(); }

  runtime::MetricsRegistry metrics;
  FunctionHandler handler;
  runtime::ShardGroup shards;
  ConnectionGroup group;
  std::unique_ptr<Listener> listener;
};

}  // namespace millrace::net::testing
