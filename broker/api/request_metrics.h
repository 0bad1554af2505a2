// Counts and times the requests of each API, under Kafka's metric names as exporters write them.
#pragma once

#include <cstdint>
#include <vector>

#include "broker/net/request.h"
#include "broker/runtime/metrics.h"
#include "protocol/api.h"

namespace millrace::api {

class RequestMetrics {
 public:
  // The registry outlives it.
  explicit RequestMetrics(runtime::MetricsRegistry& registry);

  // A request of an API that is served has been answered; its time counts from the last byte received.
  void observe(const net::Request& request);

 private:
  struct OfApi {
    runtime::Counter* requests = nullptr;
    runtime::Histogram* seconds = nullptr;
  };
  std::vector<OfApi> by_key_;
};

}  // namespace millrace::api
