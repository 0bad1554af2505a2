#include "tests/differential/peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "protocol/header.h"
#include "protocol/writer.h"

namespace millrace::differential {
namespace {

constexpr size_t kLengthSize = 4;
constexpr uint32_t kMaxAnswer = 256u << 20;
constexpr std::string_view kClientId = "differential";

}  // namespace

Peer::Peer(std::string name, const std::string& address) : name_(std::move(name)) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) throw std::runtime_error(address + " is not HOST:PORT");
  host_ = address.substr(0, colon);
  port_ = std::stoi(address.substr(colon + 1));
  if (Result<> connected = connect(); !connected) throw std::runtime_error(connected.error().message);
}

Peer::~Peer() { close(); }

void Peer::close() {
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
}

Result<> Peer::connect() {
  if (socket_ >= 0) return {};
  socket_ = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port_));
  inet_pton(AF_INET, host_.c_str(), &to.sin_addr);
  const int on = 1;
  const timeval timeout{.tv_sec = kTimeout_s, .tv_usec = 0};
  setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  if (::connect(socket_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) return {};
  const std::string why = std::strerror(errno);
  close();
  return fail(ErrorCode::kNetworkException,
              name_ + " at " + host_ + ":" + std::to_string(port_) + ": " + why);
}

Result<> Peer::send(protocol::ApiKey api, int16_t version, Bytes body) {
  if (Result<> connected = connect(); !connected) return connected;
  protocol::Writer frame(body.size() + 256);
  frame.integer(int32_t{0});
  const protocol::RequestHeader header{
      .api_key = api, .api_version = version, .correlation_id = ++correlation_id_, .client_id = kClientId};
  if (Result<> written = encode(header, frame); !written) return written;
  frame.append(body);
  frame.patch_int32(0, static_cast<int32_t>(frame.size() - kLengthSize));
  for (Bytes left = frame.written(); !left.empty();) {
    const ssize_t sent = ::send(socket_, left.data(), left.size(), MSG_NOSIGNAL);
    if (sent <= 0) {
      close();
      return fail(ErrorCode::kNetworkException, "connection closed while sending");
    }
    left = left.subspan(static_cast<size_t>(sent));
  }
  return {};
}

Result<> Peer::receive(MutableBytes into) {
  while (!into.empty()) {
    const ssize_t got = ::recv(socket_, into.data(), into.size(), 0);
    if (got <= 0) {
      const bool late = got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
      close();
      return late ? fail(ErrorCode::kRequestTimedOut, "no answer")
                  : fail(ErrorCode::kNetworkException, "connection closed");
    }
    into = into.subspan(static_cast<size_t>(got));
  }
  return {};
}

Result<Buffer> Peer::ask(protocol::ApiKey api, int16_t version, Bytes body) {
  if (Result<> sent = send(api, version, body); !sent) return std::unexpected(sent.error());
  uint32_t length = 0;
  if (Result<> got = receive({reinterpret_cast<std::byte*>(&length), kLengthSize}); !got)
    return std::unexpected(got.error());
  length = ntohl(length);
  if (length > kMaxAnswer) return fail(ErrorCode::kInvalidRequest, "answer of " + std::to_string(length));
  Buffer answer(length);
  if (Result<> got = receive(answer); !got) return std::unexpected(got.error());
  Bytes rest;
  const auto header = protocol::decode_response_header(answer, api, version, rest);
  if (!header) return std::unexpected(header.error());
  if (header->correlation_id != correlation_id_)
    return fail(ErrorCode::kInvalidRequest, "answer to another request");
  return Buffer(rest.begin(), rest.end());
}

Result<> Peer::tell(protocol::ApiKey api, int16_t version, Bytes body) { return send(api, version, body); }

Uuid Peer::topic_id(const std::string& topic) const {
  const auto found = ids_.find(topic);
  return found != ids_.end() ? found->second : Uuid{};
}

void Peer::learn_topic(const std::string& topic, const Uuid& id) {
  ids_[topic] = id;
  topics_by_id_[id.to_string()] = topic;
}

std::optional<std::string> Peer::topic_of(const std::string& id) const {
  const auto found = topics_by_id_.find(id);
  if (found == topics_by_id_.end()) return std::nullopt;
  return found->second;
}

}  // namespace millrace::differential
