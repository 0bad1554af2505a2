#include "broker/commands/commands.h"
#include "broker/commands/run.h"
#include "broker/config_report.h"

namespace millrace::broker {

tools::Command broker_command() {
  return {.path = "broker",
          .summary = "Run a broker node with a configuration",
          .details =
              "Settings come from the file, then from the environment (MILLRACE_LOG_RETENTION_MS=... for "
              "log.retention.ms),\nthen from --set; later ones win. `millrace config print` shows them all. "
              "SIGTERM or Ctrl-C stops the broker cleanly.",
          .options = {{.names = "-c,--config",
                       .value = "FILE",
                       .help = "YAML file, see conf/millrace.yaml",
                       .completion = tools::Completion::kFile},
                      {.names = "--set",
                       .value = "KEY=VALUE",
                       .help = "A setting, over file and environment",
                       .repeatable = true}},
          .run = [](const tools::Arguments& arguments, tools::Console& console) {
            return run_broker("broker", config_sources(arguments),
                              {.port_hint = "--set listeners=PLAINTEXT://HOST:PORT",
                               .http_port_hint = "--set http.listener=HOST:PORT"},
                              console, [](const Server&) {});
          }};
}

std::vector<tools::Command> broker_commands() {
  return {broker_command(),
          dev_command(),
          {.path = "config", .summary = "Check and print a broker's configuration"},
          config_check_command(),
          config_print_command()};
}

}  // namespace millrace::broker
