// A broker process: everything made in order, served, and ended in order.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "broker/metadata/broker_settings.h"
#include "protocol/result.h"

namespace millrace::broker {

struct ServerOptions {
  metadata::StaticConfig config;
  // How the person who started this chooses another port, for the message when one is taken.
  std::string port_hint;
  std::string http_port_hint;
};

class Server {
 public:
  // Opens the data directory, binds the ports, recovers every log and serves. Blocks until the first request
  // can be answered. Fails with words for the person; whatever was opened is closed again.
  static Result<std::unique_ptr<Server>> start(ServerOptions options);
  // Stops.
  ~Server();

  // Stops at once and cleanly: no new connections, a short grace for requests under way, logs closed and
  // marked so. Idempotent.
  void stop();

  // The ports that the listeners really have, in the order of the configuration.
  const std::vector<uint16_t>& ports() const;
  // 0 without an HTTP listener.
  uint16_t http_port() const;
  // Where clients connect: "127.0.0.1:9092", the first advertised address.
  const std::string& address() const;
  const std::string& data_directory() const;

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::broker
