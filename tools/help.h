// Help pages, written from the command table.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "tools/command.h"

namespace millrace::tools {

// The page of a command, of a group ("topic") or, for an empty path, of the whole program.
std::string help_text(std::span<const Command> commands, std::string_view path, bool colour);

// The words that may follow a path: "create", "list", ... after "topic".
std::vector<std::string> words_below(std::span<const Command> commands, std::string_view path);

}  // namespace millrace::tools
