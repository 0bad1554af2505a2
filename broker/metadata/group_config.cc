#include "broker/metadata/group_config.h"

#include <fmt/format.h>

#include <algorithm>

namespace millrace::metadata {
namespace {

constexpr std::string_view kHeartbeatDefault[] = {"group.consumer.heartbeat.interval.ms"};
constexpr std::string_view kSessionDefault[] = {"group.consumer.session.timeout.ms"};

const Setting kTable[] = {
    Setting{.name = "consumer.heartbeat.interval.ms",
            .type = ConfigType::kInt,
            .default_value = "5000",
            .documentation = "How often the group's members send heartbeats.",
            .unit = Unit::kMilliseconds,
            .min = 1,
            .broker_names = kHeartbeatDefault},
    Setting{.name = "consumer.session.timeout.ms",
            .type = ConfigType::kInt,
            .default_value = "45000",
            .documentation = "A member of the group that sends no heartbeat for this long is out.",
            .unit = Unit::kMilliseconds,
            .min = 1,
            .broker_names = kSessionDefault},
};

// A value of the group's, the broker's default of it, and the broker's bounds.
struct Bounded {
  std::string_view name;
  int32_t standard;
  int32_t min, max;
  std::string_view min_name, max_name;
};

Bounded session_timeout(const BrokerConfig& broker) {
  return {kTable[1].name,
          broker.group_consumer_session_timeout_ms,
          broker.group_consumer_min_session_timeout_ms,
          broker.group_consumer_max_session_timeout_ms,
          "group.consumer.min.session.timeout.ms",
          "group.consumer.max.session.timeout.ms"};
}

Bounded heartbeat_interval(const BrokerConfig& broker) {
  return {kTable[0].name,
          broker.group_consumer_heartbeat_interval_ms,
          broker.group_consumer_min_heartbeat_interval_ms,
          broker.group_consumer_max_heartbeat_interval_ms,
          "group.consumer.min.heartbeat.interval.ms",
          "group.consumer.max.heartbeat.interval.ms"};
}

// As set, whatever the bounds are.
int32_t value_of(const Bounded& value, const ConfigMap& configs) {
  const auto own = configs.find(value.name);
  return own == configs.end() ? value.standard : static_cast<int32_t>(parse_integer(own->second));
}

int32_t effective(const Bounded& value, const ConfigMap& configs) {
  if (!configs.contains(value.name)) return value.standard;
  return std::min(std::max(value_of(value, configs), value.min), value.max);
}

Result<> check_bounds(const Bounded& value, const ConfigMap& configs) {
  const int32_t number = value_of(value, configs);
  if (number < value.min) {
    return fail(ErrorCode::kInvalidConfig,
                fmt::format("{} must be greater than or equal to {}", value.name, value.min_name));
  }
  if (number > value.max) {
    return fail(ErrorCode::kInvalidConfig,
                fmt::format("{} must be less than or equal to {}", value.name, value.max_name));
  }
  return {};
}

}  // namespace

std::span<const Setting> group_settings() { return kTable; }

GroupConfig group_config(const ConfigMap& configs, const BrokerConfig& broker) {
  return {.consumer_session_timeout_ms = effective(session_timeout(broker), configs),
          .consumer_heartbeat_interval_ms = effective(heartbeat_interval(broker), configs)};
}

Result<> check_group_configs(const ConfigMap& configs, const BrokerConfig& broker) {
  for (const auto& [name, value] : configs) {
    if (find_setting(kTable, name) == nullptr)
      return fail(ErrorCode::kInvalidConfig, "Unknown group config name: " + name);
  }
  for (const auto& [name, value] : configs) {
    if (Result<> checked = check_value(*find_setting(kTable, name), value); !checked) return checked;
  }
  const Bounded session = session_timeout(broker);
  const Bounded heartbeat = heartbeat_interval(broker);
  if (Result<> checked = check_bounds(heartbeat, configs); !checked) return checked;
  if (Result<> checked = check_bounds(session, configs); !checked) return checked;
  if (value_of(session, configs) > value_of(heartbeat, configs)) return {};
  return fail(ErrorCode::kInvalidConfig,
              fmt::format("{} must be greater than {}", session.name, heartbeat.name));
}

std::optional<std::pair<std::string_view, std::string>> check_group_bounds(const BrokerConfig& broker) {
  for (const auto& [value, name] : {std::pair(session_timeout(broker), kSessionDefault[0]),
                                    std::pair(heartbeat_interval(broker), kHeartbeatDefault[0])}) {
    if (value.max < value.min)
      return std::pair(value.max_name, fmt::format("must be at least {}", value.min_name));
    if (value.standard < value.min) {
      return std::pair(name,
                       fmt::format("must be at least {}, which is {} ms; lower that too for a shorter one",
                                   value.min_name, value.min));
    }
    if (value.standard > value.max) {
      return std::pair(name,
                       fmt::format("must be at most {}, which is {} ms; raise that too for a longer one",
                                   value.max_name, value.max));
    }
  }
  if (broker.group_consumer_session_timeout_ms <= broker.group_consumer_heartbeat_interval_ms)
    return std::pair(kSessionDefault[0], fmt::format("must be greater than {}", kHeartbeatDefault[0]));
  return std::nullopt;
}

}  // namespace millrace::metadata
