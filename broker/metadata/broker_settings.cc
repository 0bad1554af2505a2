#include "broker/metadata/broker_settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <deque>
#include <variant>

namespace millrace::metadata {
namespace {

// The member that a row fills.
using Field = std::variant<int32_t BrokerConfig::*, int64_t BrokerConfig::*, bool BrokerConfig::*,
                           double BrokerConfig::*, std::string BrokerConfig::*,
                           std::vector<std::string> BrokerConfig::*>;

struct Row {
  Setting setting;
  Field field;
};

std::optional<std::string> check_listeners(std::string_view, std::string_view value) {
  std::vector<std::string> names;
  for (const std::string& item : parse_list(value)) {
    const std::optional<Endpoint> endpoint = parse_listener(item);
    if (!endpoint) return fmt::format("{} is not NAME://host:port", item);
    if (std::ranges::find(names, endpoint->listener) != names.end()) {
      return fmt::format("Each listener must have a different name, and {} appears twice",
                         endpoint->listener);
    }
    names.push_back(endpoint->listener);
  }
  return std::nullopt;
}

std::optional<std::string> check_protocol_map(std::string_view, std::string_view value) {
  for (const std::string& item : parse_list(value)) {
    const size_t colon = item.find(':');
    if (colon == std::string::npos || colon == 0) return fmt::format("{} is not NAME:PROTOCOL", item);
    const std::string protocol = item.substr(colon + 1);
    if (protocol != "PLAINTEXT") {
      return fmt::format("{} is not supported; the only security protocol so far is PLAINTEXT", protocol);
    }
  }
  return std::nullopt;
}

std::optional<std::string> check_one_directory(std::string_view, std::string_view value) {
  const size_t count = parse_list(value).size();
  if (count == 1) return std::nullopt;
  return "Exactly one directory is expected; to use several disks, join them below the file system";
}

std::optional<std::string> check_host_port(std::string_view, std::string_view value) {
  if (trim(value).empty() || parse_host_port(value)) return std::nullopt;
  return "Expected host:port, or nothing to turn it off";
}

std::optional<std::string> check_assignors(std::string_view, std::string_view value) {
  const std::vector<std::string> names = parse_list(value);
  if (names.empty()) return "At least one assignor is expected";
  for (const std::string& name : names) {
    if (name != "uniform" && name != "range")
      return fmt::format("{} is not an assignor; there are uniform and range", name);
  }
  return std::nullopt;
}

std::optional<std::string> check_migration_policy(std::string_view, std::string_view value) {
  for (const std::string_view policy : {"disabled", "upgrade", "downgrade", "bidirectional"}) {
    if (value == policy) return std::nullopt;
  }
  return "Expected disabled, upgrade, downgrade or bidirectional";
}

// clang-format off
const Row kRows[] = {
    {{.name = "advertised.listeners", .type = ConfigType::kList, .default_value = std::nullopt,
      .documentation = "The addresses that clients are told to connect to, one per listener; without it, those of "
                       "`listeners`, where an empty host stands for this machine's name.",
      .check = check_listeners}, &BrokerConfig::advertised_listeners},
    {{.name = "auto.create.topics.enable", .type = ConfigType::kBoolean, .default_value = "true",
      .documentation = "Whether a topic that a client asks for is created if it doesn't exist."},
     &BrokerConfig::auto_create_topics_enable},
    {{.name = "background.threads", .type = ConfigType::kInt, .default_value = "4",
      .documentation = "Threads for what waits on the disk: syncs, cold reads, deletions.",
      .min = 1, .max = 1024}, &BrokerConfig::background_threads},
    {{.name = "broker.rack", .type = ConfigType::kString, .default_value = std::nullopt,
      .documentation = "The rack or zone of this broker, as clients and replica placement see it."},
     &BrokerConfig::broker_rack},
    {{.name = "connections.max.idle.ms", .type = ConfigType::kLong, .default_value = "600000",
      .documentation = "A connection that sends nothing for this long is closed.",
      .unit = Unit::kMilliseconds, .min = 1}, &BrokerConfig::connections_max_idle_ms},
    {{.name = "default.replication.factor", .type = ConfigType::kInt, .default_value = "1",
      .documentation = "Replicas of a topic that is created without saying how many.",
      .min = 1, .max = 32767}, &BrokerConfig::default_replication_factor},
    {{.name = "delete.topic.enable", .type = ConfigType::kBoolean, .default_value = "true",
      .documentation = "Whether topics may be deleted."}, &BrokerConfig::delete_topic_enable},
    {{.name = "fetch.max.bytes", .type = ConfigType::kInt, .default_value = "57671680",
      .documentation = "The most that one fetch is answered with, whatever it asks for.",
      .unit = Unit::kBytes, .min = 1024}, &BrokerConfig::fetch_max_bytes},
    {{.name = "group.consumer.assignors", .type = ConfigType::kList, .default_value = "uniform,range",
      .documentation = "The assignors that groups of the consumer protocol may use; the first is that of groups which "
                       "ask for none.",
      .check = check_assignors}, &BrokerConfig::group_consumer_assignors},
    {{.name = "group.consumer.heartbeat.interval.ms", .type = ConfigType::kInt, .default_value = "5000",
      .documentation = "How often members of groups of the consumer protocol send heartbeats, where the group has no "
                       "configuration of its own.",
      .unit = Unit::kMilliseconds, .min = 1}, &BrokerConfig::group_consumer_heartbeat_interval_ms},
    {{.name = "group.consumer.max.heartbeat.interval.ms", .type = ConfigType::kInt, .default_value = "15000",
      .documentation = "The longest heartbeat interval that a group of the consumer protocol may be given.",
      .unit = Unit::kMilliseconds, .min = 1}, &BrokerConfig::group_consumer_max_heartbeat_interval_ms},
    {{.name = "group.consumer.max.session.timeout.ms", .type = ConfigType::kInt, .default_value = "60000",
      .documentation = "The longest session timeout that a group of the consumer protocol may be given.",
      .unit = Unit::kMilliseconds, .min = 1}, &BrokerConfig::group_consumer_max_session_timeout_ms},
    {{.name = "group.consumer.max.size", .type = ConfigType::kInt, .default_value = "2147483647",
      .documentation = "Members that a group of the consumer protocol may have.", .min = 1},
     &BrokerConfig::group_consumer_max_size},
    {{.name = "group.consumer.migration.policy", .type = ConfigType::kString, .default_value = "bidirectional",
      .documentation = "Whether a group with members changes to the consumer protocol when the first one joins by it "
                       "(upgrade), and back when the last one leaves (downgrade): disabled, upgrade, downgrade or "
                       "bidirectional.",
      .check = check_migration_policy}, &BrokerConfig::group_consumer_migration_policy},
    {{.name = "group.consumer.min.heartbeat.interval.ms", .type = ConfigType::kInt, .default_value = "5000",
      .documentation = "The shortest heartbeat interval that a group of the consumer protocol may be given.",
      .unit = Unit::kMilliseconds, .min = 1}, &BrokerConfig::group_consumer_min_heartbeat_interval_ms},
    {{.name = "group.consumer.min.session.timeout.ms", .type = ConfigType::kInt, .default_value = "45000",
      .documentation = "The shortest session timeout that a group of the consumer protocol may be given.",
      .unit = Unit::kMilliseconds, .min = 1}, &BrokerConfig::group_consumer_min_session_timeout_ms},
    {{.name = "group.consumer.session.timeout.ms", .type = ConfigType::kInt, .default_value = "45000",
      .documentation = "A member of a group of the consumer protocol that sends no heartbeat for this long is out, where "
                       "the group has no configuration of its own.",
      .unit = Unit::kMilliseconds, .min = 1}, &BrokerConfig::group_consumer_session_timeout_ms},
    {{.name = "group.initial.rebalance.delay.ms", .type = ConfigType::kInt, .default_value = "3000",
      .documentation = "How long the first member of a group waits for more, so that few generations follow.",
      .unit = Unit::kMilliseconds, .min = 0}, &BrokerConfig::group_initial_rebalance_delay_ms},
    {{.name = "group.max.session.timeout.ms", .type = ConfigType::kInt, .default_value = "1800000",
      .documentation = "The longest session timeout that a member may ask for.",
      .unit = Unit::kMilliseconds, .min = 1}, &BrokerConfig::group_max_session_timeout_ms},
    {{.name = "group.max.size", .type = ConfigType::kInt, .default_value = "2147483647",
      .documentation = "Members that a group may have.", .min = 1}, &BrokerConfig::group_max_size},
    {{.name = "group.min.session.timeout.ms", .type = ConfigType::kInt, .default_value = "6000",
      .documentation = "The shortest session timeout that a member may ask for.",
      .unit = Unit::kMilliseconds, .min = 1}, &BrokerConfig::group_min_session_timeout_ms},
    {{.name = "http.listener", .type = ConfigType::kString, .default_value = "127.0.0.1:9308",
      .documentation = "Address of /metrics, /livez and /readyz as host:port; empty turns them off.",
      .check = check_host_port}, &BrokerConfig::http_listener},
    {{.name = "listener.security.protocol.map", .type = ConfigType::kList, .default_value = "PLAINTEXT:PLAINTEXT",
      .documentation = "The security protocol of each listener's name. PLAINTEXT is the only one so far.",
      .check = check_protocol_map}, &BrokerConfig::listener_security_protocol_map},
    {{.name = "listeners", .type = ConfigType::kList, .default_value = "PLAINTEXT://:9092",
      .documentation = "The addresses that clients connect to, as NAME://host:port; an empty host means all of this "
                       "machine's addresses.",
      .check = check_listeners}, &BrokerConfig::listeners},
    {{.name = "log.cleaner.backoff.ms", .type = ConfigType::kLong, .default_value = "15000",
      .documentation = "How long compaction waits when no log is dirty enough before it looks again.",
      .unit = Unit::kMilliseconds, .scope = Scope::kCluster, .min = 0}, &BrokerConfig::log_cleaner_backoff_ms},
    {{.name = "log.cleaner.dedupe.buffer.size", .type = ConfigType::kLong, .default_value = "134217728",
      .documentation = "Memory for the keys of the log that is being compacted, 24 bytes each: one that has more keys "
                       "takes several rounds.",
      .unit = Unit::kBytes, .scope = Scope::kCluster, .min = 1048576},
     &BrokerConfig::log_cleaner_dedupe_buffer_size},
    {{.name = "log.cleaner.enable", .type = ConfigType::kBoolean, .default_value = "true",
      .documentation = "Whether topics with `compact` in cleanup.policy are compacted. Without it they grow for ever, "
                       "__consumer_offsets among them."}, &BrokerConfig::log_cleaner_enable},
    {{.name = "log.cleaner.io.max.bytes.per.second", .type = ConfigType::kDouble,
      .default_value = "1.7976931348623157E308",
      .documentation = "The most that compaction reads and writes, together, in a second.",
      .scope = Scope::kCluster, .min = 1}, &BrokerConfig::log_cleaner_io_max_bytes_per_second},
    {{.name = "log.dirs", .type = ConfigType::kList, .default_value = "/var/lib/millrace",
      .documentation = "The directory of everything that is stored: partitions, index, metadata. Exactly one.",
      .check = check_one_directory, .alias = "log.dir"}, &BrokerConfig::log_dirs},
    {{.name = "log.retention.check.interval.ms", .type = ConfigType::kLong, .default_value = "300000",
      .documentation = "How often old segments are looked for.",
      .unit = Unit::kMilliseconds, .min = 1}, &BrokerConfig::log_retention_check_interval_ms},
    {{.name = "log.scrub.interval.ms", .type = ConfigType::kLong, .default_value = "604800000",
      .documentation = "How often everything that is stored is read, slowly, to find damage before a reader does; 0 "
                       "is never.",
      .unit = Unit::kMilliseconds, .scope = Scope::kCluster, .min = 0}, &BrokerConfig::log_scrub_interval_ms},
    {{.name = "logging.format", .type = ConfigType::kString, .default_value = "text",
      .documentation = "Form of the broker's own log: lines for people, or one JSON object per line.",
      .choices = "text json"}, &BrokerConfig::logging_format},
    {{.name = "logging.level", .type = ConfigType::kString, .default_value = "info",
      .documentation = "The least severity that the broker's own log shows.",
      .choices = "debug info warning error off"}, &BrokerConfig::logging_level},
    {{.name = "max.connections", .type = ConfigType::kInt, .default_value = "2147483647",
      .documentation = "Connections that may be open at a time; further ones are closed at once.",
      .scope = Scope::kCluster, .min = 0}, &BrokerConfig::max_connections},
    {{.name = "max.connections.per.ip", .type = ConfigType::kInt, .default_value = "2147483647",
      .documentation = "Connections that one address may have open at a time.",
      .scope = Scope::kCluster, .min = 0}, &BrokerConfig::max_connections_per_ip},
    {{.name = "max.incremental.fetch.session.cache.slots", .type = ConfigType::kInt, .default_value = "1000",
      .documentation = "Incremental fetch sessions that the broker remembers; consumers beyond that send all their "
                       "partitions with every fetch.",
      .min = 0}, &BrokerConfig::max_incremental_fetch_session_cache_slots},
    {{.name = "node.id", .type = ConfigType::kInt, .default_value = "1",
      .documentation = "This broker's number, unique in its cluster and never changed.",
      .min = 0, .alias = "broker.id"}, &BrokerConfig::node_id},
    {{.name = "num.partitions", .type = ConfigType::kInt, .default_value = "1",
      .documentation = "Partitions of a topic that is created without saying how many.",
      .min = 1, .max = 10000}, &BrokerConfig::num_partitions},
    {{.name = "offset.metadata.max.bytes", .type = ConfigType::kInt, .default_value = "4096",
      .documentation = "The most metadata that a committed offset may carry.",
      .unit = Unit::kBytes, .min = 0, .max = 32767}, &BrokerConfig::offset_metadata_max_bytes},
    {{.name = "offsets.retention.check.interval.ms", .type = ConfigType::kLong, .default_value = "600000",
      .documentation = "How often expired offsets are looked for.",
      .unit = Unit::kMilliseconds, .min = 1}, &BrokerConfig::offsets_retention_check_interval_ms},
    {{.name = "offsets.retention.minutes", .type = ConfigType::kInt, .default_value = "10080",
      .documentation = "How long committed offsets are kept after their group lost its last member (or, for consumers "
                       "without a group, after the commit).",
      .unit = Unit::kMinutes, .min = 1}, &BrokerConfig::offsets_retention_minutes},
    {{.name = "offsets.topic.num.partitions", .type = ConfigType::kInt, .default_value = "50",
      .documentation = "Partitions of __consumer_offsets, which decide the coordinator of a group; counts when the "
                       "topic is created.", .min = 1, .max = 10000}, &BrokerConfig::offsets_topic_num_partitions},
    {{.name = "offsets.topic.replication.factor", .type = ConfigType::kInt, .default_value = "3",
      .documentation = "Replicas of __consumer_offsets, or as many as there are brokers when it is created.",
      .min = 1, .max = 32767}, &BrokerConfig::offsets_topic_replication_factor},
    {{.name = "offsets.topic.segment.bytes", .type = ConfigType::kInt, .default_value = "104857600",
      .documentation = "Segment size of __consumer_offsets; small ones are loaded and cleaned sooner.",
      .unit = Unit::kBytes, .min = 1}, &BrokerConfig::offsets_topic_segment_bytes},
    {{.name = "producer.id.expiration.ms", .type = ConfigType::kInt, .default_value = "86400000",
      .documentation = "How long a partition remembers an idle producer's last sequence numbers.",
      .unit = Unit::kMilliseconds, .scope = Scope::kCluster, .min = 1}, &BrokerConfig::producer_id_expiration_ms},
    {{.name = "queued.max.request.bytes", .type = ConfigType::kLong, .default_value = "536870912",
      .documentation = "Memory for requests that were read and aren't answered yet; when it is used up, connections "
                       "aren't read until some is free. At least socket.request.max.bytes.",
      .unit = Unit::kBytes, .min = 1}, &BrokerConfig::queued_max_request_bytes},
    {{.name = "shards", .type = ConfigType::kInt, .default_value = "0",
      .documentation = "Threads that serve connections and partitions; 0 is one per core.",
      .min = 0, .max = 1024}, &BrokerConfig::shards},
    {{.name = "socket.listen.backlog.size", .type = ConfigType::kInt, .default_value = "50",
      .documentation = "Connections that may wait to be accepted.", .min = 1}, &BrokerConfig::socket_listen_backlog_size},
    {{.name = "socket.request.max.bytes", .type = ConfigType::kInt, .default_value = "104857600",
      .documentation = "The largest request; a connection that announces a larger one is closed.",
      .unit = Unit::kBytes, .min = 1}, &BrokerConfig::socket_request_max_bytes},
};
// clang-format on

bool counts_hours_or_minutes(std::string_view name) {
  return name.ends_with(".hours") || name.ends_with(".minutes");
}

// The row of a setting that only gives topics their default.
Setting topic_default_row(const Setting& topic, std::string_view name, std::string_view documentation) {
  Setting row = topic;
  row.name = name;
  row.broker_names = {};
  row.documentation = documentation;
  row.scope = Scope::kCluster;
  // Of several names the last one has the default, in its unit; log.flush.interval.ms is null in Kafka.
  if (name != topic.broker_names.back() || name == "log.flush.interval.ms") row.default_value = std::nullopt;
  if (counts_hours_or_minutes(name)) {
    row.type = ConfigType::kInt;
    row.scope = Scope::kReadOnly;
    row.unit = name.ends_with(".hours") ? Unit::kHours : Unit::kMinutes;
    if (row.default_value) row.default_value = *topic.default_value == "0" ? "0" : "168";
  }
  return row;
}

struct Tables {
  Tables() {
    for (const Row& row : kRows) own.push_back(row.setting);
    all = own;
    for (const Setting& topic : topic_settings()) {
      for (std::string_view name : topic.broker_names) {
        documentation.push_back(
            fmt::format("The default of the topic setting {}: {}", topic.name, topic.documentation));
        all.push_back(topic_default_row(topic, name, documentation.back()));
      }
    }
    std::ranges::sort(all, {}, &Setting::name);
  }
  std::vector<Setting> own;
  std::vector<Setting> all;
  std::deque<std::string> documentation;  // which rows refer to
};

const Tables& tables() {
  static const Tables tables;
  return tables;
}

void fill(BrokerConfig& config, const Field& field, const std::string& value) {
  if (const auto* member = std::get_if<int32_t BrokerConfig::*>(&field)) {
    config.** member = static_cast<int32_t>(parse_integer(value));
  } else if (const auto* member = std::get_if<int64_t BrokerConfig::*>(&field)) {
    config.** member = parse_integer(value);
  } else if (const auto* member = std::get_if<bool BrokerConfig::*>(&field)) {
    config.** member = parse_boolean(value);
  } else if (const auto* member = std::get_if<double BrokerConfig::*>(&field)) {
    config.** member = parse_double(value);
  } else if (const auto* member = std::get_if<std::string BrokerConfig::*>(&field)) {
    config.** member = trim(value);
  } else if (const auto* member = std::get_if<std::vector<std::string> BrokerConfig::*>(&field)) {
    config.** member = parse_list(value);
  }
}

template <class Lookup>
BrokerConfig filled(Lookup&& lookup) {
  BrokerConfig config;
  for (const Row& row : kRows) {
    if (const std::optional<std::string> value = lookup(row.setting.name)) fill(config, row.field, *value);
  }
  return config;
}

const std::string* dynamic_value(const Setting& setting, const ConfigMap& configs) {
  const auto at = configs.find(setting.name);
  return at != configs.end() && check_value(setting, at->second) ? &at->second : nullptr;
}

}  // namespace

std::span<const Setting> broker_settings() { return tables().all; }

std::span<const Setting> own_broker_settings() { return tables().own; }

std::optional<std::pair<std::string, int32_t>> parse_host_port(std::string_view text) {
  text = trim(text);
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  int32_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size() || port < 0 || port > 65535)
    return std::nullopt;
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return std::nullopt;  // an IPv6 address without brackets
  }
  if (host.find_first_of(" /,[]") != std::string_view::npos) return std::nullopt;
  return std::pair(std::string(host), port);
}

std::optional<Endpoint> parse_listener(std::string_view text) {
  text = trim(text);
  const size_t mark = text.find("://");
  if (mark == std::string_view::npos || mark == 0) return std::nullopt;
  const std::string_view name = text.substr(0, mark);
  constexpr std::string_view kNameCharacters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
  if (name.find_first_not_of(kNameCharacters) != std::string_view::npos) return std::nullopt;
  auto address = parse_host_port(text.substr(mark + 3));
  if (!address) return std::nullopt;
  return Endpoint{std::string(name), std::move(address->first), address->second, ""};
}

std::optional<std::string> StaticConfig::get(std::string_view name) const {
  if (const auto at = values.find(name); at != values.end()) return at->second;
  const Setting* setting = find_setting(tables().all, name);
  if (setting == nullptr || !setting->default_value) return std::nullopt;
  return std::string(*setting->default_value);
}

std::optional<std::string> broker_value(const StaticConfig& config, const ClusterImage& image,
                                        int32_t node_id, std::string_view name) {
  const Setting* setting = find_setting(tables().all, name);
  if (setting != nullptr && setting->scope != Scope::kReadOnly) {
    if (const std::string* value = dynamic_value(*setting, image.broker_configs(node_id))) return *value;
    if (const std::string* value = dynamic_value(*setting, image.cluster_configs())) return *value;
  }
  return config.get(name);
}

BrokerConfig broker_config(const StaticConfig& config, const ClusterImage& image, int32_t node_id) {
  return filled([&](std::string_view name) { return broker_value(config, image, node_id, name); });
}

BrokerConfig broker_config(const StaticConfig& config) {
  return filled([&](std::string_view name) { return config.get(name); });
}

BrokerValue broker_values(const StaticConfig& config, const ClusterImage& image, int32_t node_id) {
  return [&config, &image, node_id](std::string_view name) {
    return broker_value(config, image, node_id, name);
  };
}

}  // namespace millrace::metadata
