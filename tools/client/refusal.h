// An error that a broker answered with, in words for a person.
#pragma once

#include <fmt/format.h>

#include <optional>
#include <string>
#include <string_view>

#include "protocol/result.h"

namespace millrace::tools {

// The broker's words, or the code's name where it has none.
inline std::unexpected<Error> refused(ErrorCode code, const std::optional<std::string_view>& message = {}) {
  std::string text = message && !message->empty() ? fmt::format("{} ({})", *message, error_name(code))
                                                  : std::string(error_name(code));
  return fail(code, std::move(text));
}

}  // namespace millrace::tools
