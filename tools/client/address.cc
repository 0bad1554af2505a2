#include "tools/client/address.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace millrace::tools {
namespace {

Result<Address> parse_address(std::string_view text) {
  const auto bad = [&](std::string_view what) {
    return fail(ErrorCode::kInvalidRequest,
                fmt::format("\"{}\" is not a broker's address: {}; write HOST:PORT, e.g. 127.0.0.1:9092",
                            text, what));
  };
  Address address;
  std::string_view port;
  if (text.starts_with('[')) {
    const size_t close = text.find(']');
    if (close == std::string_view::npos) return bad("']' is missing");
    address.host = text.substr(1, close - 1);
    port = text.substr(close + 1);
    if (!port.empty() && !port.starts_with(':')) return bad("a port after ':' must follow ']'");
  } else if (std::count(text.begin(), text.end(), ':') > 1) {
    // An IPv6 address alone; with a port it needs brackets.
    address.host = text;
  } else {
    const size_t colon = std::min(text.find(':'), text.size());
    address.host = text.substr(0, colon);
    port = text.substr(colon);
  }
  if (address.host.empty()) return bad("no host");
  if (port.empty()) return address;
  port.remove_prefix(1);
  unsigned number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error != std::errc() || end != port.data() + port.size() || number == 0 || number > 65535) {
    return bad(fmt::format("\"{}\" is not a port", port));
  }
  address.port = static_cast<uint16_t>(number);
  return address;
}

}  // namespace

std::string Address::to_string() const {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port)
                                             : fmt::format("[{}]:{}", host, port);
}

Result<std::vector<Address>> parse_addresses(std::string_view text) {
  std::vector<Address> addresses;
  while (true) {
    const size_t comma = text.find(',');
    std::string_view part = text.substr(0, comma);
    while (part.starts_with(' ')) part.remove_prefix(1);
    while (part.ends_with(' ')) part.remove_suffix(1);
    Result<Address> address = parse_address(part);
    if (!address) return std::unexpected(address.error());
    addresses.push_back(std::move(*address));
    if (comma == std::string_view::npos) return addresses;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace millrace::tools
