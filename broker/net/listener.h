// A listening port. One shard accepts and hands sockets to all shards in turn: with the few, long-lived
// connections of Kafka clients this spreads them evenly, where SO_REUSEPORT per shard would spread them by
// hash, and would let a second broker bind the same port without a word.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "broker/net/socket.h"
#include "broker/runtime/shard.h"
#include "broker/runtime/task_group.h"
#include "protocol/result.h"

namespace millrace::net {

struct ListenAddress {
  std::string host;   // numeric address or a name; empty: all addresses, of IPv4 and IPv6
  uint16_t port = 0;  // 0: the system picks a free one
  // How the person who started this chooses another port, for the message when it is taken: "--port N".
  std::string port_hint;
  int backlog = 1024;  // connections that wait to be accepted (socket.listen.backlog.size)
};

// Binds and listens. Fails with kInvalidConfig and a message that names the owner of a port in use (pid and
// command) and says how to choose another, or why the address can't be bound.
Result<OwnedFd> listen_on(const ListenAddress& address);

// The port that a listening descriptor has.
uint16_t bound_port(int fd);

class Listener {
 public:
  // Called on the accepting shard for each connection (non-blocking, close-on-exec).
  using Accept = std::function<void(OwnedFd)>;

  // Binds at once, so that the port is known; accepts nothing before start(). `shard` must outlive the
  // listener.
  static Result<std::unique_ptr<Listener>> open(const ListenAddress& address, runtime::Shard& shard);
  // Stops.
  ~Listener();

  uint16_t port() const { return port_; }
  // Once. Not from a shard's thread.
  void start(Accept accept);
  // Closes the port: clients are refused from now on. Blocks until nothing is accepted any more. Idempotent;
  // not from a shard's thread, before the shard is stopped.
  void stop();

 private:
  Listener(runtime::Shard& shard, OwnedFd fd);

  runtime::Shard& shard_;
  uint16_t port_;
  OwnedFd fd_;  // until start()
  struct Running;
  std::shared_ptr<Running> running_;  // on the shard
};

}  // namespace millrace::net
