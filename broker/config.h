// The broker's configuration: a YAML file, the environment (MILLRACE_LOG_RETENTION_MS=...) and --set
// key=value on the command line, each overriding those before it. Everything wrong with them is reported at
// once, each with its place.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/config_file.h"
#include "broker/metadata/broker_settings.h"
#include "protocol/result.h"

namespace millrace::broker {

struct ConfigSources {
  std::optional<std::string> file;       // a path
  std::vector<std::string> environment;  // NAME=value, all of the process's
  std::vector<std::string> sets;         // key=value, in order; the last one of a key counts
};

struct ConfigOrigin {
  enum class Kind : int8_t { kDefault, kFile, kEnvironment, kCommandLine };
  Kind kind = Kind::kDefault;
  std::string text;  // "conf/millrace.yaml:12", "MILLRACE_SHARDS", "--set"; "default"
};

struct LoadedConfig {
  metadata::StaticConfig values;                             // what was set, valid and in plain numbers
  std::map<std::string, ConfigOrigin, std::less<>> origins;  // of what was set
  // "conf/millrace.yaml:12:3: ..."; if there are any, the broker must not start.
  std::vector<std::string> errors;
  std::vector<std::string> warnings;
};

// Reads the file and takes everything together. Never throws.
LoadedConfig load_config(const ConfigSources& sources);

// The same for a file's text, under the name that messages shall have.
LoadedConfig load_config_text(std::string_view text, std::string_view name, const ConfigSources& others);

// The process's environment, for ConfigSources.
std::vector<std::string> process_environment();

// MILLRACE_LOG_RETENTION_MS for log.retention.ms.
std::string environment_name(std::string_view setting);

// The setting whose name is most like this one.
std::string_view nearest_setting(std::string_view name);

}  // namespace millrace::broker
