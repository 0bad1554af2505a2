// millrace completion: shell completion scripts of the whole table.
#include "tools/completion.h"

#include <memory>

#include "tools/command_line.h"

namespace millrace::tools {

void add_completion_command(std::vector<Command>& commands) {
  Command row{.path = "completion",
              .summary = "Write a completion script for a shell",
              .details =
                  "Load it with one of\n"
                  "  source <(millrace completion bash)\n"
                  "  source <(millrace completion zsh)\n"
                  "  millrace completion fish | source\n",
              .options = {{.names = "shell",
                           .value = "SHELL",
                           .help = "Which one",
                           .choices = {"bash", "zsh", "fish"},
                           .positional = true,
                           .required = true}},
              .run = {}};
  // The row completes itself too: the table that it sees holds a copy, whose function is never called.
  row.run = [](const Arguments&, Console&) { return kExitDone; };
  auto table = std::make_shared<std::vector<Command>>(commands);
  table->push_back(row);
  row.run = [table](const Arguments& arguments, Console& console) {
    const std::string shell = arguments.text("shell");
    console.write(shell == "bash"  ? bash_completion(*table)
                  : shell == "zsh" ? zsh_completion(*table)
                                   : fish_completion(*table));
    return kExitDone;
  };
  commands.push_back(std::move(row));
}

}  // namespace millrace::tools
