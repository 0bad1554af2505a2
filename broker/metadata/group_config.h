// The configurations that a consumer group can have of its own (KIP-848): the table, its checks, and their
// values for the coordinator. Those of Apache Kafka 4.3 that say something here: it serves no share or
// streams groups, and works out assignments at once, not at an interval.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "broker/metadata/broker_settings.h"
#include "broker/metadata/setting.h"
#include "broker/metadata/topic_settings.h"

namespace millrace::metadata {

// All rows, by name.
std::span<const Setting> group_settings();

// What holds for a group's members, in milliseconds.
struct GroupConfig {
  int32_t consumer_session_timeout_ms = 0;
  int32_t consumer_heartbeat_interval_ms = 0;
  bool operator==(const GroupConfig&) const = default;
};

// The group's own values, else the broker's. An own one that lies outside the broker's bounds (they were
// changed after it was set) counts as the nearest bound, as in Kafka.
GroupConfig group_config(const ConfigMap& configs, const BrokerConfig& broker);

// Checks a group's whole configuration as Kafka does when it is altered: unknown names, values, the broker's
// bounds, and values against each other. Fails with kInvalidConfig.
Result<> check_group_configs(const ConfigMap& configs, const BrokerConfig& broker);

// Between a broker's own settings: what is wrong, as the name of a setting and words that follow it; nothing
// if all is well.
std::optional<std::pair<std::string_view, std::string>> check_group_bounds(const BrokerConfig& broker);

}  // namespace millrace::metadata
