// Backslash escapes in delimiters and format strings.
#pragma once

#include <string>
#include <string_view>

#include "protocol/result.h"

namespace millrace::tools {

// Replaces \n \t \r \0 \\ and \xNN; kInvalidRequest names any other escape.
Result<std::string> unescape(std::string_view text);

}  // namespace millrace::tools
