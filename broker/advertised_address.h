// The addresses that clients are told to connect to. One that can't work is refused when the broker starts: a
// client would get it from the first answer and then connect to nowhere, or to itself.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/metadata/broker_settings.h"
#include "protocol/result.h"

namespace millrace::broker {

// What the operating system knows of names; passed in for tests.
struct NameService {
  std::function<std::string()> host_name;  // this machine's
  std::function<bool(const std::string& host)> resolves;

  static NameService system();
};

// One endpoint per listener, in their order, each with its security protocol. `bound_ports`: the port that
// each listener has really got, where 0 was asked for; empty before binding, and then a port 0 stays 0.
//
// As Kafka does it: advertised.listeners where given; else the listener's own host, or this machine's name
// where that is empty. Fails with kInvalidConfig, and says what to set instead, for 0.0.0.0 and ::, an empty
// host or port 0 in advertised.listeners, and a name that doesn't resolve.
Result<std::vector<metadata::Endpoint>> advertised_endpoints(const metadata::BrokerConfig& config,
                                                             const std::vector<int32_t>& bound_ports,
                                                             const NameService& names);

}  // namespace millrace::broker
