#include "tools/commands/setting_changes.h"

namespace millrace::tools {

std::vector<Option> setting_options() {
  return {{.names = "-s,--set",
           .aliases = "--add-config,--config",
           .value = "NAME=VALUE",
           .help = "Change a setting",
           .check = assignment(),
           .repeatable = true},
          {.names = "-u,--unset",
           .aliases = "--delete-config",
           .value = "NAME",
           .help = "Give a setting its default again",
           .repeatable = true}};
}

SettingChanges SettingChanges::read(const Arguments& arguments) {
  SettingChanges changes;
  for (const std::string& config : arguments.all("set")) {
    const size_t equals = config.find('=');
    changes.set.emplace_back(config.substr(0, equals), config.substr(equals + 1));
  }
  changes.unset = arguments.all("unset");
  return changes;
}

Result<void> SettingChanges::apply(Cluster& cluster, ConfigResource type, const std::string& name) const {
  return alter_configs(cluster, type, name, set, unset);
}

void SettingChanges::add_to(Json& json) const {
  Json set_json = Json::object();
  for (const auto& [name, value] : set) set_json.set(name, value);
  Json unset_json = Json::list();
  for (const std::string& name : unset) unset_json.push(name);
  json.set("set", std::move(set_json)).set("unset", std::move(unset_json));
}

}  // namespace millrace::tools
