// Broker addresses as people write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/result.h"

namespace millrace::tools {

inline constexpr uint16_t kDefaultPort = 9092;

struct Address {
  std::string host;
  uint16_t port = kDefaultPort;

  // "host:port", with brackets around an IPv6 address.
  std::string to_string() const;
  bool operator==(const Address&) const = default;
};

// Reads "a:9092,b,[::1]:9093": several are alternatives, a missing port is 9092. kInvalidRequest names the
// part that is wrong.
Result<std::vector<Address>> parse_addresses(std::string_view text);

}  // namespace millrace::tools
