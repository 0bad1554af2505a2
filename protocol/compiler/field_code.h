// The pieces of C++ that stand for one field.
#pragma once

#include <string>

#include "schema.h"

namespace millrace::compiler {

// Of the member, e.g. "std::optional<Array<Topic>>".
std::string cpp_type(const Field& field);
// Of the member: " = -1", or nothing where the type's own default serves.
std::string initializer(const Field& field);
// The default as a visitor gets it: a value, std::nullopt or kEmpty.
std::string default_code(const Field& field);
// The Field that a visitor gets.
std::string description(const Field& field, const Message& message);

// The fewest bytes that a struct takes in this version of its message.
int min_size(const Struct& structure, const Message& message, int version);

}  // namespace millrace::compiler
