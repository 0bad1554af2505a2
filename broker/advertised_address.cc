#include "broker/advertised_address.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace millrace::broker {
namespace {

using metadata::BrokerConfig;
using metadata::Endpoint;

bool is_wildcard(const std::string& host) {
  in_addr v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return v4.s_addr == INADDR_ANY;
  in6_addr v6{};
  return inet_pton(AF_INET6, host.c_str(), &v6) == 1 && IN6_IS_ADDR_UNSPECIFIED(&v6);
}

std::string system_host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "";
  // The canonical name, as Kafka takes it; the plain one where there is none.
  addrinfo hints{};
  hints.ai_flags = AI_CANONNAME;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  std::string result = name.data();
  if (getaddrinfo(name.data(), nullptr, &hints, &found) == 0) {
    if (found->ai_canonname != nullptr) result = found->ai_canonname;
    freeaddrinfo(found);
  }
  return result;
}

bool system_resolves(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0) return false;
  freeaddrinfo(found);
  return true;
}

std::string security_protocol(const BrokerConfig& config, const std::string& listener) {
  for (const std::string& item : config.listener_security_protocol_map) {
    const size_t colon = item.find(':');
    if (item.substr(0, colon) == listener) return item.substr(colon + 1);
  }
  return listener;
}

std::unexpected<Error> refuse(const Endpoint& listener, std::string_view why, const NameService& names) {
  std::string host = names.host_name();
  if (host.empty() || is_wildcard(host) || !names.resolves(host)) host = "ADDRESS";
  return fail(
      ErrorCode::kInvalidConfig,
      fmt::format("listener {}: {}. Set advertised.listeners to an address of this machine that its clients "
                  "can reach, e.g. --set advertised.listeners={}://{}:{}",
                  listener.listener, why, listener.listener, host,
                  listener.port == 0 ? 9092 : listener.port));
}

// `own`: the listener that the advertised address is for.
Result<> check(const Endpoint& own, const Endpoint& advertised, const NameService& names) {
  if (is_wildcard(advertised.host)) {
    return refuse(own,
                  fmt::format("clients can't connect to {}, which stands for any address", advertised.host),
                  names);
  }
  if (!names.resolves(advertised.host)) {
    return refuse(own, fmt::format("{} does not resolve to an address", advertised.host), names);
  }
  return {};
}

Result<Endpoint> explicit_endpoint(const Endpoint& own, const Endpoint& advertised,
                                   const NameService& names) {
  if (advertised.host.empty()) return refuse(own, "advertised.listeners has no host", names);
  if (advertised.port == 0) return refuse(own, "advertised.listeners has port 0", names);
  if (Result<> checked = check(own, advertised, names); !checked) return std::unexpected(checked.error());
  return advertised;
}

Result<Endpoint> implicit_endpoint(const Endpoint& own, const NameService& names) {
  Endpoint endpoint = own;
  if (endpoint.host.empty()) {
    endpoint.host = names.host_name();
    if (endpoint.host.empty()) return refuse(own, "this machine has no name to advertise", names);
  }
  if (Result<> checked = check(own, endpoint, names); !checked) return std::unexpected(checked.error());
  return endpoint;
}

}  // namespace

NameService NameService::system() { return {system_host_name, system_resolves}; }

Result<std::vector<Endpoint>> advertised_endpoints(const BrokerConfig& config,
                                                   const std::vector<int32_t>& bound_ports,
                                                   const NameService& names) {
  std::vector<Endpoint> given;
  for (const std::string& item : config.advertised_listeners) {
    if (const auto endpoint = metadata::parse_listener(item)) given.push_back(*endpoint);
  }
  std::vector<Endpoint> endpoints;
  for (size_t i = 0; i < config.listeners.size(); ++i) {
    std::optional<Endpoint> own = metadata::parse_listener(config.listeners[i]);
    if (!own) return fail(ErrorCode::kInvalidConfig, config.listeners[i] + " is not NAME://host:port");
    if (i < bound_ports.size()) own->port = bound_ports[i];
    const auto at = std::ranges::find(given, own->listener, &Endpoint::listener);
    Result<Endpoint> endpoint =
        at != given.end() ? explicit_endpoint(*own, *at, names) : implicit_endpoint(*own, names);
    if (!endpoint) return std::unexpected(endpoint.error());
    endpoint->security_protocol = security_protocol(config, own->listener);
    endpoints.push_back(std::move(*endpoint));
  }
  return endpoints;
}

}  // namespace millrace::broker
