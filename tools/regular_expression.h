// Regular expressions in options: RE2's syntax.
#pragma once

#include "tools/command.h"

namespace millrace::tools {

Check regular_expression();

}  // namespace millrace::tools
