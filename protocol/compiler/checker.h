// Checks what a schema means, and completes it: version ranges get their ends, types their structs.
#pragma once

#include <vector>

#include "schema.h"

namespace millrace::compiler {

// Adds to `problems`; a schema without any is fit for the emitter.
void check(Schema& schema, std::vector<Problem>& problems);

// Names and keys must differ between files. Every problem comes with the file it belongs to.
struct FileProblem {
  std::string file;
  Problem problem;
};
std::vector<FileProblem> check_together(const std::vector<Schema>& schemas);

}  // namespace millrace::compiler
