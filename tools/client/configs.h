// Configurations of topics and brokers: read, set, unset.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tools/client/cluster.h"

namespace millrace::tools {

struct ConfigEntry {
  std::string name;
  // Nothing for a secret.
  std::optional<std::string> value;
  // Where the value comes from, e.g. "topic", "broker", "default".
  std::string source;
  bool is_default = false;
  bool read_only = false;
  bool sensitive = false;
};

enum class ConfigResource : int8_t { kTopic = 2, kBroker = 4, kGroup = 32 };

// All of a resource's settings, in order of their names. kUnknownTopicOrPartition and so on from the broker.
Result<std::vector<ConfigEntry>> describe_configs(Cluster& cluster, ConfigResource type,
                                                  const std::string& name);

// Sets and unsets (back to the default) some settings and leaves the others (KIP-339). kInvalidConfig with
// the broker's words; nothing is changed then.
Result<void> alter_configs(Cluster& cluster, ConfigResource type, const std::string& name,
                           const std::vector<std::pair<std::string, std::string>>& set,
                           const std::vector<std::string>& unset);

}  // namespace millrace::tools
