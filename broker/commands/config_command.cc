#include "broker/commands/commands.h"
#include "broker/commands/run.h"
#include "broker/config_report.h"

namespace millrace::broker {

tools::Command config_check_command() {
  return {.path = "config check",
          .summary =
              "Check a configuration's names, values and contradictions (not whether ports and directories "
              "can be had)",
          .options = {{.names = "file",
                       .value = "FILE",
                       .help = "YAML file",
                       .positional = true,
                       .required = true,
                       .completion = tools::Completion::kFile},
                      {.names = "--set",
                       .value = "KEY=VALUE",
                       .help = "A setting, over file and environment",
                       .repeatable = true}},
          .run = [](const tools::Arguments& arguments, tools::Console& console) {
            ConfigSources sources = config_sources(arguments);
            sources.file = arguments.text("file");
            const ConfigCheck check =
                check_config(load_config(sources), *sources.file, NameService::system());
            if (check.good) {
              console.write(check.text);
              return tools::kExitDone;
            }
            console.note(check.text);
            return tools::kExitFailed;
          }};
}

tools::Command config_print_command() {
  return {
      .path = "config print",
      .summary = "Print every setting with its value and where that comes from",
      .options = {{.names = "-c,--config",
                   .value = "FILE",
                   .help = "YAML file",
                   .completion = tools::Completion::kFile},
                  {.names = "--set",
                   .value = "KEY=VALUE",
                   .help = "A setting, over file and environment",
                   .repeatable = true},
                  {.names = "-o,--output",
                   .value = "FORMAT",
                   .help = "table or json",
                   .fallback = "table",
                   .choices = {"table", "json"}},
                  {.names = "--example", .help = "Print conf/millrace.yaml, the commented example, instead"}},
      .run = [](const tools::Arguments& arguments, tools::Console& console) {
        if (arguments.has("example")) {
          console.write(example_config());
          return tools::kExitDone;
        }
        const LoadedConfig config = load_config(config_sources(arguments));
        for (const std::string& error : config.errors) console.complain("config print", error);
        if (!config.errors.empty()) return tools::kExitFailed;
        console.write(arguments.text("output") == "json" ? print_config_json(config)
                                                         : print_config_table(config));
        return tools::kExitDone;
      }};
}

}  // namespace millrace::broker
