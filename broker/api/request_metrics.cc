#include "broker/api/request_metrics.h"

#include "broker/api/api_table.h"

namespace millrace::api {

RequestMetrics::RequestMetrics(runtime::MetricsRegistry& registry) {
  for (const ApiRow& row : api_table()) {
    const auto key = static_cast<size_t>(row.key);
    if (by_key_.size() <= key) by_key_.resize(key + 1);
    const runtime::Labels labels = {{"request", std::string(protocol::api_name(row.key))}};
    by_key_[key].requests =
        &registry.counter("kafka_network_requestmetrics_requests_total", "Requests answered, by API", labels);
    by_key_[key].seconds = &registry.histogram("kafka_network_requestmetrics_total_time_seconds",
                                               "From the last byte of a request to its response, by API",
                                               runtime::Histogram::latency_bounds(), labels);
  }
}

void RequestMetrics::observe(const net::Request& request) {
  const OfApi& metrics = by_key_[static_cast<size_t>(request.api_key)];
  metrics.requests->add();
  const int64_t elapsed_ns = request.shard->clock().monotonic_ns() - request.received_ns;
  metrics.seconds->observe(static_cast<double>(elapsed_ns) / 1e9);
}

}  // namespace millrace::api
