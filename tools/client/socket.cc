#include "tools/client/socket.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include "tools/interrupt.h"

namespace millrace::tools {
namespace {

// Waits are cut into pieces of this length, so that a signal between a look at the flag and poll isn't
// missed.
constexpr int64_t kSliceMs = 200;

std::unexpected<Error> network_error(std::string message) {
  return fail(ErrorCode::kNetworkException, std::move(message));
}

// Returns 1 when ready, 0 at the deadline or a signal.
bool wait_for(int fd, short events, Deadline deadline) {
  while (true) {
    pollfd entry{fd, events, 0};
    const int ready = poll(&entry, 1, static_cast<int>(std::min(deadline.left_ms(), kSliceMs)));
    if (ready > 0) return true;
    if (deadline.passed() || interrupted()) return false;
  }
}

// 0 when connected, otherwise errno's value.
int connect_one(int fd, const addrinfo& target, Deadline deadline) {
  if (::connect(fd, target.ai_addr, target.ai_addrlen) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  if (!wait_for(fd, POLLOUT, deadline)) return interrupted() ? EINTR : ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

std::string advice(int error) {
  if (error == ECONNREFUSED)
    return "; nothing listens there. Is the broker running? (millrace dev starts one)";
  if (error == ETIMEDOUT) return "; a firewall or a wrong address, perhaps";
  return "";
}

}  // namespace

Socket& Socket::operator=(Socket&& other) noexcept {
  close();
  fd_ = std::exchange(other.fd_, -1);
  return *this;
}

void Socket::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Result<Socket> Socket::connect(const Address& address, Deadline deadline) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int failure = getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (failure != 0) {
    return network_error(
        fmt::format("{}: the host's name is not known ({})", address.to_string(), gai_strerror(failure)));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
  int error = ENOENT;
  for (const addrinfo* target = found; target != nullptr; target = target->ai_next) {
    Socket socket(::socket(target->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (socket.fd_ < 0) {
      error = errno;
      continue;
    }
    error = connect_one(socket.fd_, *target, deadline);
    if (error != 0) continue;
    const int on = 1;
    setsockopt(socket.fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return socket;
  }
  return network_error(fmt::format("{}: {}{}", address.to_string(), std::strerror(error), advice(error)));
}

Result<void> Socket::send(std::span<const Bytes> parts, Deadline deadline) {
  constexpr size_t kMostParts = 16;
  std::array<iovec, kMostParts> pieces;
  size_t part = 0;
  size_t offset = 0;
  while (part < parts.size()) {
    size_t count = 0;
    for (size_t i = part; i < parts.size() && count < kMostParts; ++i, ++count) {
      const size_t skip = i == part ? offset : 0;
      pieces[count] = {const_cast<std::byte*>(parts[i].data()) + skip, parts[i].size() - skip};
    }
    msghdr message = {};
    message.msg_iov = pieces.data();
    message.msg_iovlen = count;
    ssize_t sent = sendmsg(fd_, &message, MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      if (!wait_for(fd_, POLLOUT, deadline))
        return fail(ErrorCode::kRequestTimedOut, "the broker takes no more data");
      continue;
    }
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0)
      return network_error(fmt::format("connection lost while sending: {}", std::strerror(errno)));
    for (auto left = static_cast<size_t>(sent); part < parts.size();) {
      const size_t rest = parts[part].size() - offset;
      if (left < rest) {
        offset += left;
        break;
      }
      left -= rest;
      offset = 0;
      ++part;
    }
  }
  return {};
}

Result<size_t> Socket::receive(MutableBytes out, Deadline deadline) {
  while (true) {
    const ssize_t got = recv(fd_, out.data(), out.size(), 0);
    if (got > 0) return static_cast<size_t>(got);
    if (got == 0) return network_error("the broker closed the connection");
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (!wait_for(fd_, POLLIN, deadline)) return size_t{0};
    } else if (errno != EINTR) {
      return network_error(fmt::format("connection lost: {}", std::strerror(errno)));
    }
  }
}

std::vector<size_t> wait_readable(std::span<const int> fds, Deadline deadline) {
  std::vector<pollfd> entries;
  for (const int fd : fds) entries.push_back({fd, POLLIN, 0});
  std::vector<size_t> ready;
  while (true) {
    const int count =
        poll(entries.data(), entries.size(), static_cast<int>(std::min(deadline.left_ms(), kSliceMs)));
    if (count > 0) break;
    if (deadline.passed() || interrupted()) return ready;
  }
  for (size_t i = 0; i < entries.size(); ++i) {
    if (entries[i].revents != 0) ready.push_back(i);
  }
  return ready;
}

}  // namespace millrace::tools
