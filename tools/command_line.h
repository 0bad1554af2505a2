// Runs the command that the arguments name, out of a table of commands.
//
// The executable's main() puts the table together: what tools_commands() returns, and the broker's own rows.
#pragma once

#include <span>
#include <vector>

#include "tools/command.h"

namespace millrace::tools {

// Every command of this directory: topic, cluster, produce, consume, log, bench, completion. Rows without a
// function (e.g. "topic") only give a group its summary.
std::vector<Command> tools_commands();

// Adds `completion`, which writes scripts for the whole table, itself included. Call it last.
void add_completion_command(std::vector<Command>& commands);

// Parses argv (argv[0] is the program), runs the command and returns its exit code: 0 done, 1 failed, 2
// usage. Help and version go to console.out, usage errors to console.err.
int run_command_line(std::span<const Command> commands, int argc, const char* const* argv, Console& console);

}  // namespace millrace::tools
