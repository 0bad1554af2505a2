// The executable: the command table of the tools, and the broker's own rows.
#include <utility>

#include "broker/commands/commands.h"
#include "tools/command_line.h"

int main(int argc, char** argv) {
  using namespace millrace;
  std::vector<tools::Command> commands = broker::broker_commands();
  for (tools::Command& command : tools::tools_commands()) commands.push_back(std::move(command));
  tools::add_completion_command(commands);
  tools::Console console = tools::Console::of_process();
  return tools::run_command_line(commands, argc, argv, console);
}
