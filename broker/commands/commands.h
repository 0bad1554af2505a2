// The rows of the command table that need the broker: `broker`, `dev`, `config check`, `config print`.
#pragma once

#include <vector>

#include "tools/command.h"

namespace millrace::broker {

std::vector<tools::Command> broker_commands();

// One each, in files of their names.
tools::Command broker_command();
tools::Command dev_command();
tools::Command config_check_command();
tools::Command config_print_command();

}  // namespace millrace::broker
