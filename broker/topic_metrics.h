// What /metrics says of the cluster and its topics, under the names of kafka_exporter, which dashboards know
// already; and of the process, under Prometheus' own names.
#pragma once

#include "broker/api/services.h"
#include "broker/runtime/metrics.h"

namespace millrace::broker {

// kafka_brokers, kafka_topic_partitions, kafka_topic_partition_current_offset and so on. `services` outlives
// the registry's last scrape.
void add_topic_metrics(runtime::MetricsRegistry& registry, api::Services& services);

// process_resident_memory_bytes, process_cpu_seconds_total, process_open_fds, process_start_time_seconds.
void add_process_metrics(runtime::MetricsRegistry& registry, const runtime::Clock& clock);

}  // namespace millrace::broker
