// What Metadata and DescribeCluster share: where a client reaches a broker, and what it may do.
#pragma once

#include <cstdint>
#include <string_view>

#include "broker/metadata/cluster_image.h"

namespace millrace::api {

// The broker's endpoint of the listener that the client came in by, else its first; null if it has none.
inline const metadata::Endpoint* endpoint_for(const metadata::BrokerImage& broker,
                                              std::string_view listener) {
  for (const metadata::Endpoint& endpoint : broker.endpoints) {
    if (endpoint.listener == listener) return &endpoint;
  }
  return broker.endpoints.empty() ? nullptr : &broker.endpoints.front();
}

// Bits of Kafka's AclOperation codes (KIP-430): without an authorizer everybody may do everything.
constexpr int32_t kAllTopicOperations =
    1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11;
constexpr int32_t kAllGroupOperations = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;
constexpr int32_t kAllClusterOperations = 1 << 5 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;

}  // namespace millrace::api
