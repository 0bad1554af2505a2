// Asks a person before something that can't be undone.
#pragma once

#include <string_view>

#include "tools/console.h"

namespace millrace::tools {

// Writes the text to `err`, then "Type yes to go on: "; true when standard input answers yes.
bool confirm(Console& console, std::string_view text);

}  // namespace millrace::tools
