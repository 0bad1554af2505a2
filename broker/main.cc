// The executable: the command table of the tools, and the broker's own rows.
#include "tools/command_line.h"

int main(int argc, char** argv) {
  using namespace millrace;
  std::vector<tools::Command> commands = tools::tools_commands();
  // The broker's rows (broker, dev, config check, config print) go here, before the table is completed.
  tools::add_completion_command(commands);
  tools::Console console = tools::Console::of_process();
  return tools::run_command_line(commands, argc, argv, console);
}
