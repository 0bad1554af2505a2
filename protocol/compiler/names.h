// Spellings of a name: "ListOffsets" (PascalCase), "list_offsets" (snake_case), "listOffsets" (Kafka's JSON).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace millrace::compiler {

std::string snake_case(std::string_view pascal);
std::string pascal_case(std::string_view snake);
std::string camel_case(std::string_view snake);

bool is_snake_case(std::string_view name);
bool is_pascal_case(std::string_view name);
// Words that C++ keeps for itself.
bool is_reserved(std::string_view name);

// The candidate that is fewest edits away from `word`; empty when all are too far to be meant.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace millrace::compiler
