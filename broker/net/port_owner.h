// Who has a TCP port: for the message when it can't be bound.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace millrace::net {

struct PortOwner {
  int pid = 0;
  std::string command;  // the command line, arguments separated by spaces, shortened
};

// The process that listens on the port, on any address; nothing when there is none or /proc doesn't show it
// (another user's). Scans all processes: for error paths only.
std::optional<PortOwner> find_port_owner(uint16_t port);

}  // namespace millrace::net
