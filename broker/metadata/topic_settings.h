// The table of all topic configurations of Apache Kafka 4.3: names, types, defaults, checks, what they do
// here, and which settings of the broker give their defaults.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "broker/metadata/setting.h"

namespace millrace::metadata {

// A resource's own configurations as they were set: name to raw text.
using ConfigMap = std::map<std::string, std::string, std::less<>>;

// All rows, by name. The defaults are Kafka's, but for flush.messages: acknowledged means on disk unless a
// topic (or log.flush.interval.messages) says otherwise.
std::span<const Setting> topic_settings();

// The value of a setting of the broker, or nothing where it is null.
using BrokerValue = std::function<std::optional<std::string>(std::string_view name)>;

// The topic setting's default that the broker's settings give, in the unit of the topic's: the first of
// broker_names that has a value (hours and minutes become milliseconds).
std::string topic_default(const Setting& setting, const BrokerValue& broker);

// The value of `setting` for a topic with these configurations.
std::string topic_value(const Setting& setting, const ConfigMap& configs, const BrokerValue& broker);

// Checks a topic's whole configuration as Kafka does when it is created or altered: unknown names, values,
// and values against each other. Fails with kInvalidConfig.
Result<> check_topic_configs(const ConfigMap& configs, const BrokerValue& broker);

}  // namespace millrace::metadata
