// Reads the text of a schema file into a Schema.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "schema.h"

namespace millrace::compiler {

// `file` is the name for messages. What the text gets wrong in form (words, indentation, numbers) is added
// to `problems`; the line is then skipped, so one run reports all of them.
Schema parse(std::string_view text, const std::string& file, std::vector<Problem>& problems);

}  // namespace millrace::compiler
