// The broker's settings: one table, from which parsing, validation, DescribeConfigs, --help and the
// documentation come. To add one: a member of BrokerConfig, a row of the table, a paragraph in
// conf/millrace.yaml (a test compares).
//
// The server-wide defaults of topic settings (log.retention.ms and so on) are not rows of their own: the
// topic table names them, and broker_settings() derives their rows.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/metadata/cluster_image.h"
#include "broker/metadata/setting.h"
#include "broker/metadata/topic_settings.h"

namespace millrace::metadata {

// The settings as values. Members are named as their rows, with _ for the dots.
struct BrokerConfig {
  int32_t node_id = 0;
  std::vector<std::string> listeners;
  std::vector<std::string> advertised_listeners;
  std::vector<std::string> listener_security_protocol_map;
  std::string log_dirs;            // exactly one directory
  std::string broker_rack;         // empty: none
  int32_t shards = 0;              // 0: one per core
  int32_t background_threads = 0;  // of the disk pool

  int32_t num_partitions = 0;
  int32_t default_replication_factor = 0;
  bool auto_create_topics_enable = false;
  bool delete_topic_enable = false;

  int32_t socket_request_max_bytes = 0;
  int32_t socket_listen_backlog_size = 0;
  int64_t queued_max_request_bytes = 0;  // the memory budget of requests, all shards together
  int64_t connections_max_idle_ms = 0;
  int32_t max_connections = 0;
  int32_t max_connections_per_ip = 0;
  int32_t fetch_max_bytes = 0;
  int32_t max_incremental_fetch_session_cache_slots = 0;

  std::vector<std::string> group_consumer_assignors;
  int32_t group_consumer_heartbeat_interval_ms = 0;
  int32_t group_consumer_max_heartbeat_interval_ms = 0;
  int32_t group_consumer_max_session_timeout_ms = 0;
  int32_t group_consumer_max_size = 0;
  std::string group_consumer_migration_policy;
  int32_t group_consumer_min_heartbeat_interval_ms = 0;
  int32_t group_consumer_min_session_timeout_ms = 0;
  int32_t group_consumer_session_timeout_ms = 0;
  int32_t group_initial_rebalance_delay_ms = 0;
  int32_t group_max_session_timeout_ms = 0;
  int32_t group_max_size = 0;
  int32_t group_min_session_timeout_ms = 0;
  int32_t offset_metadata_max_bytes = 0;
  int64_t offsets_retention_check_interval_ms = 0;
  int32_t offsets_retention_minutes = 0;
  int32_t offsets_topic_num_partitions = 0;
  int32_t offsets_topic_replication_factor = 0;
  int32_t offsets_topic_segment_bytes = 0;

  int64_t producer_id_expiration_ms = 0;
  int64_t log_retention_check_interval_ms = 0;
  int64_t log_scrub_interval_ms = 0;
  bool log_cleaner_enable = false;
  int64_t log_cleaner_backoff_ms = 0;
  int64_t log_cleaner_dedupe_buffer_size = 0;
  double log_cleaner_io_max_bytes_per_second = 0;

  std::string http_listener;  // host:port, empty: none
  std::string logging_level;
  std::string logging_format;
};

// All rows, by name.
std::span<const Setting> broker_settings();

// The rows that are Millrace's own or have an effect of their own: broker_settings() without the defaults of
// topics.
std::span<const Setting> own_broker_settings();

// A listener as its settings write it, NAME://host:port. The host may be empty; [::1] loses its brackets.
// Nothing for any other text. The security protocol is left empty.
std::optional<Endpoint> parse_listener(std::string_view text);
// host:port, as http.listener has it.
std::optional<std::pair<std::string, int32_t>> parse_host_port(std::string_view text);

// What the configuration file, the environment and the command line gave, under the rows' names.
struct StaticConfig {
  ConfigMap values;

  std::optional<std::string> get(std::string_view name) const;  // the value or the row's default
  bool is_set(std::string_view name) const { return values.contains(name); }
};

// The values as they hold on this broker: its own dynamic configuration, else the cluster's, else the static
// one, else the default. A dynamic value that doesn't pass its check (an older version set it) is passed
// over.
std::optional<std::string> broker_value(const StaticConfig& config, const ClusterImage& image,
                                        int32_t node_id, std::string_view name);
BrokerConfig broker_config(const StaticConfig& config, const ClusterImage& image, int32_t node_id);
// As at start, without a cluster.
BrokerConfig broker_config(const StaticConfig& config);

// The function that the topic table asks for defaults. It refers to its arguments.
BrokerValue broker_values(const StaticConfig& config, const ClusterImage& image, int32_t node_id);

}  // namespace millrace::metadata
