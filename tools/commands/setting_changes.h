// --set and --unset, for the commands that alter what has settings of its own.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tools/client/cluster.h"
#include "tools/client/configs.h"
#include "tools/command.h"
#include "tools/json.h"

namespace millrace::tools {

// The options; Kafka's names for them are aliases.
std::vector<Option> setting_options();

struct SettingChanges {
  std::vector<std::pair<std::string, std::string>> set;
  std::vector<std::string> unset;

  static SettingChanges read(const Arguments& arguments);
  bool empty() const { return set.empty() && unset.empty(); }
  // Errors: those of alter_configs; nothing is changed then.
  Result<void> apply(Cluster& cluster, ConfigResource type, const std::string& name) const;
  // Adds "set" and "unset" to an object.
  void add_to(Json& json) const;
};

}  // namespace millrace::tools
