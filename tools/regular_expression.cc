#include "tools/regular_expression.h"

#include <fmt/format.h>
#include <re2/re2.h>

namespace millrace::tools {

Check regular_expression() {
  return [](const std::string& value) -> std::optional<std::string> {
    const RE2 pattern(value, RE2::Quiet);
    if (pattern.ok()) return std::nullopt;
    return fmt::format("\"{}\" is not a regular expression: {}", value, pattern.error());
  };
}

}  // namespace millrace::tools
