// DescribeConfigs: every setting of a topic, a group or this broker, with its value, where that comes from,
// and what else would give one. Plain functions of an image; the handler translates.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/metadata/broker_settings.h"
#include "broker/metadata/cluster_image.h"
#include "broker/metadata/setting.h"

namespace millrace::metadata {

// Numbers as on the wire.
enum class ConfigSource : int8_t {
  kUnknown = 0,
  kDynamicTopic = 1,
  kDynamicBroker = 2,
  kDynamicDefaultBroker = 3,
  kStaticBroker = 4,
  kDefault = 5,
  kDynamicBrokerLogger = 6,
  kDynamicGroup = 8,
};

// Numbers as on the wire.
enum class ResourceType : int8_t {
  kUnknown = 0,
  kTopic = 2,
  kBroker = 4,
  kBrokerLogger = 8,
  kClientMetrics = 16,
  kGroup = 32,
};

struct ConfigSynonym {
  std::string name;
  std::optional<std::string> value;
  ConfigSource source = ConfigSource::kUnknown;
};

struct ConfigEntry {
  std::string name;
  std::optional<std::string> value;  // nothing: null, or sensitive
  ConfigSource source = ConfigSource::kUnknown;
  bool read_only = false;
  bool sensitive = false;
  ConfigType type = ConfigType::kUnknown;
  std::string_view documentation;       // of static storage
  std::vector<ConfigSynonym> synonyms;  // in order of precedence, the effective one first
};

class ConfigDescriber {
 public:
  // Refers to the configuration, which outlives it.
  ConfigDescriber(const StaticConfig& config, int32_t node_id) : config_(config), node_id_(node_id) {}

  // `keys`: only those, or all. A group needn't exist. Fails with kUnknownTopicOrPartition,
  // kInvalidTopicException (the name can't be a topic's), kInvalidRequest (a broker that isn't this one, a
  // group without a name, or a type we have no configurations of).
  Result<std::vector<ConfigEntry>> describe(const ClusterImage& image, ResourceType type,
                                            std::string_view name,
                                            const std::optional<std::vector<std::string>>& keys) const;

  // All settings of a topic, existing or about to be created.
  std::vector<ConfigEntry> topic(const ClusterImage& image, const ConfigMap& configs) const;
  // All settings of a group.
  std::vector<ConfigEntry> group(const ClusterImage& image, const ConfigMap& configs) const;
  // This broker's.
  std::vector<ConfigEntry> broker(const ClusterImage& image) const;
  // What AlterConfigs set for all brokers.
  std::vector<ConfigEntry> cluster(const ClusterImage& image) const;

 private:
  ConfigEntry with_broker_default(const ClusterImage& image, const Setting& setting, const ConfigMap& configs,
                                  ConfigSource own_source, const BrokerValue& broker) const;
  std::vector<ConfigSynonym> broker_synonyms(const ClusterImage& image, const Setting& setting) const;

  const StaticConfig& config_;
  int32_t node_id_;
};

// A valid name, or the words that follow "Topic name is invalid: ".
std::optional<std::string> check_topic_name(std::string_view name);

}  // namespace millrace::metadata
