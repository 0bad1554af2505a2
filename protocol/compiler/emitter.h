// Writes the C++ of checked schemas.
#pragma once

#include <string>
#include <vector>

#include "schema.h"

namespace millrace::compiler {

// The name of the generated files without their ending: "list_offsets", "offset_commit_record".
std::string file_stem(const Schema& schema);

// The structs and the declarations of their functions: protocol/messages/NAME.h.
std::string emit_header(const Schema& schema);
// The visiting functions, and the functions made of them: NAME.cc beside it.
std::string emit_source(const Schema& schema);

// ApiKey's values and the table of all APIs: protocol/messages/api_table.h. Takes the APIs among `schemas`.
std::string emit_table(const std::vector<Schema>& schemas);
// All messages in one header, and a switch that goes from a key to its types: protocol/messages/all.h.
std::string emit_all(const std::vector<Schema>& schemas);

}  // namespace millrace::compiler
