// A non-blocking connection of the raw client: requests out, whole responses in. The broker answers in order,
// so nobody looks at correlation ids.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <string>

#include "protocol/bytes.h"

namespace millrace::bench {

// Nanoseconds of CLOCK_MONOTONIC.
int64_t now_ns();

class Socket {
 public:
  // `broker` is an IPv4 address and port, "127.0.0.1:9092". Throws std::system_error here and below.
  explicit Socket(const std::string& broker);
  ~Socket();
  Socket(const Socket&) = delete;

  int fd() const { return fd_; }

  // Queues a request, which must live until it is sent.
  void queue(Bytes frame) { output_.push_back({const_cast<std::byte*>(frame.data()), frame.size()}); }
  // Sends what the connection takes, several requests in one call where they are queued.
  void send();
  bool sending() const { return !output_.empty(); }

  // Receives once what there is and calls `take` with each whole response, after its length. Throws
  // std::runtime_error when the broker has closed the connection.
  void receive(const std::function<void(Bytes)>& take);

 private:
  int fd_ = -1;
  std::deque<iovec> output_;
  Buffer input_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

// The sockets that a load waits for.
class Poller {
 public:
  Poller();
  ~Poller();
  Poller(const Poller&) = delete;
  // `key` comes back from wait().
  void add(const Socket& socket, size_t key);
  // Says again for which sockets to wait until they take more.
  void watch_output(const Socket& socket, size_t key, bool on);
  // Calls `ready` with the key of each socket that is readable or writable; waits for at most so long.
  void wait(int64_t timeout_ns, const std::function<void(size_t)>& ready);

 private:
  int epoll_ = -1;
};

}  // namespace millrace::bench
