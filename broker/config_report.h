// What `config check` and `config print` say, and the commented example in conf/, all from the settings
// table.
#pragma once

#include <string>

#include "broker/advertised_address.h"
#include "broker/config.h"

namespace millrace::broker {

struct ConfigCheck {
  bool good = false;
  std::string text;  // one problem per line, or that all is well
};

// Everything that would keep a broker with this configuration from starting, but for what only starting can
// tell (a port in use, a directory that can't be written). `name`: what the text calls the configuration.
ConfigCheck check_config(const LoadedConfig& config, const std::string& name, const NameService& names);

// The effective values by name, each with where it comes from.
std::string print_config_table(const LoadedConfig& config);
// An array of {"name","value","origin","default","type","documentation"}; a value that nobody sets is null.
std::string print_config_json(const LoadedConfig& config);

// conf/millrace.yaml: every setting with its documentation, commented out at its default.
std::string example_config();

// "  name  type  default" and the documentation below, for --help.
std::string settings_help();

}  // namespace millrace::broker
