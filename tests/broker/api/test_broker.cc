#include "tests/broker/api/test_broker.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

namespace millrace::api {
namespace {

constexpr int kReceiveTimeoutS = 30;

std::filesystem::path make_directory() {
  std::string name = (std::filesystem::temp_directory_path() / "millrace-test.XXXXXX").string();
  REQUIRE(mkdtemp(name.data()) != nullptr);
  return name;
}

}  // namespace

TestBroker::TestBroker(Settings settings) : settings_(std::move(settings)), directory_(make_directory()) {
  start();
}

TestBroker::~TestBroker() {
  server_.reset();
  std::filesystem::remove_all(directory_);
}

void TestBroker::start() {
  broker::ServerOptions options;
  options.config.values["listeners"] = "PLAINTEXT://127.0.0.1:0";
  options.config.values["http.listener"] = "127.0.0.1:0";
  options.config.values["log.dirs"] = (directory_ / "data").string();
  for (const auto& [name, value] : settings_) options.config.values[name] = value;
  auto server = broker::Server::start(std::move(options));
  INFO((server ? std::string() : server.error().message));
  REQUIRE(server);
  server_ = std::move(*server);
}

void TestBroker::restart() {
  server_.reset();
  start();
}

TestClient::TestClient(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  REQUIRE(fd_ >= 0);
  const timeval timeout{.tv_sec = kReceiveTimeoutS, .tv_usec = 0};
  setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
}

TestClient::~TestClient() { close(fd_); }

void TestClient::send_frame(Bytes frame) {
  const uint32_t length = htonl(static_cast<uint32_t>(frame.size()));
  // In one segment with the frame, which would else wait for the broker's delayed acknowledgement.
  const int flags = MSG_NOSIGNAL | (frame.empty() ? 0 : MSG_MORE);
  REQUIRE(::send(fd_, &length, sizeof length, flags) == sizeof length);
  while (!frame.empty()) {
    const ssize_t sent = ::send(fd_, frame.data(), frame.size(), MSG_NOSIGNAL);
    REQUIRE(sent > 0);
    frame = frame.subspan(static_cast<size_t>(sent));
  }
}

std::optional<Buffer> TestClient::receive_frame() {
  uint32_t length = 0;
  if (recv(fd_, &length, sizeof length, MSG_WAITALL) != sizeof length) return std::nullopt;
  Buffer frame(ntohl(length));
  if (recv(fd_, frame.data(), frame.size(), MSG_WAITALL) != static_cast<ssize_t>(frame.size()))
    return std::nullopt;
  return frame;
}

Buffer batch_of(const std::vector<std::string>& values, const protocol::BatchOptions& options) {
  protocol::BatchBuilder builder(options);
  for (const std::string& value : values) builder.append(std::nullopt, as_bytes(value), {}, kTimestampMs);
  auto batch = builder.build();
  REQUIRE(batch);
  return std::move(*batch);
}

}  // namespace millrace::api
