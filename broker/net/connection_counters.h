// What the network layer counts.
#pragma once

#include "broker/net/connection_group.h"
#include "broker/runtime/metrics.h"

namespace millrace::net {

struct ConnectionGroup::Counters {
  explicit Counters(runtime::MetricsRegistry& metrics)
      : open(metrics.gauge("millrace_connections", "Open client connections")),
        accepted(metrics.counter("millrace_connections_accepted_total", "Client connections accepted")),
        refused(metrics.counter("millrace_connections_refused_total",
                                "Client connections closed at once because there were too many")),
        refused_frames(
            metrics.counter("millrace_connections_broken_total",
                            "Client connections closed because of what came or didn't come on them")),
        received_bytes(
            metrics.counter("millrace_network_received_bytes_total", "Bytes received from clients")),
        sent_bytes(metrics.counter("millrace_network_sent_bytes_total", "Bytes sent to clients")) {}

  runtime::Gauge& open;
  runtime::Counter& accepted;
  runtime::Counter& refused;
  runtime::Counter& refused_frames;
  runtime::Counter& received_bytes;
  runtime::Counter& sent_bytes;
};

}  // namespace millrace::net
