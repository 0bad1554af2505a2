// A TCP connection with timeouts; plain blocking use, no threads.
#pragma once

#include <span>
#include <vector>

#include "protocol/bytes.h"
#include "protocol/result.h"
#include "tools/client/address.h"
#include "tools/client/deadline.h"

namespace millrace::tools {

class Socket {
 public:
  Socket() = default;
  ~Socket() { close(); }
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept;

  // Tries every address the host's name has, IPv4 and IPv6. kNetworkException says where and why it failed.
  static Result<Socket> connect(const Address& address, Deadline deadline);

  // Sends all the parts, in order. kNetworkException when the peer is gone, kRequestTimedOut when it takes
  // nothing; what was sent until then is unknown.
  Result<void> send(std::span<const Bytes> parts, Deadline deadline);
  // Fills `out` as far as bytes have come, at least one; 0 means none came by the deadline. kNetworkException
  // when the peer closed the connection.
  Result<size_t> receive(MutableBytes out, Deadline deadline);

  int fd() const { return fd_; }
  void close();

 private:
  explicit Socket(int fd) : fd_(fd) {}
  int fd_ = -1;
};

// Waits until one of the sockets has something to read, the deadline passes or a signal comes. Returns the
// indexes of those that have.
std::vector<size_t> wait_readable(std::span<const int> fds, Deadline deadline);

}  // namespace millrace::tools
