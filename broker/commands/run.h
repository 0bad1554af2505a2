// What `broker` and `dev` share: load the configuration, serve until a signal, stop.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "broker/config.h"
#include "broker/server.h"
#include "tools/command.h"

namespace millrace::broker {

// The file that --config names, this process's environment, and the command line's --set.
ConfigSources config_sources(const tools::Arguments& arguments);

// Serves until SIGTERM or SIGINT; returns the exit code. Mistakes in the configuration and whatever keeps the
// broker from starting are said on console.err. `ready` is called once requests are answered.
int run_broker(const std::string& command, const ConfigSources& sources, ServerOptions options,
               tools::Console& console, const std::function<void(const Server&)>& ready);

}  // namespace millrace::broker
