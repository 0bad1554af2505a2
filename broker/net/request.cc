#include "broker/net/request.h"

namespace millrace::net {

std::string ConnectionInfo::client() const {
  const bool is_v6 = client_host.find(':') != std::string::npos;
  return (is_v6 ? '[' + client_host + ']' : client_host) + ':' + std::to_string(client_port);
}

}  // namespace millrace::net
