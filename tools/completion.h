// Shell completion scripts, written from the command table.
#pragma once

#include <span>
#include <string>

#include "tools/command.h"

namespace millrace::tools {

std::string bash_completion(std::span<const Command> commands);
std::string zsh_completion(std::span<const Command> commands);
std::string fish_completion(std::span<const Command> commands);

}  // namespace millrace::tools
