// An error that a broker answered with, in words for a person.
#pragma once

#include <fmt/format.h>

#include <optional>
#include <string>
#include <string_view>

#include "protocol/result.h"

namespace millrace::tools {

// What a code says that is all there is to go by, after it stayed for as long as there were tries; empty
// where its name says it.
inline std::string_view meaning_of(ErrorCode code) {
  switch (code) {
    // As Apache Kafka, for a coordinator whose partition of __consumer_offsets isn't there or can't be
    // written.
    case ErrorCode::kNotCoordinator:
      return "its coordinator is out of service";
    case ErrorCode::kCoordinatorNotAvailable:
      return "its coordinator takes no requests now";
    case ErrorCode::kCoordinatorLoadInProgress:
      return "its coordinator is still reading what groups there are";
    default:
      return "";
  }
}

// The broker's words, or what the code means, or its name.
inline std::unexpected<Error> refused(ErrorCode code, const std::optional<std::string_view>& message = {}) {
  if (message && !message->empty()) return fail(code, fmt::format("{} ({})", *message, error_name(code)));
  const std::string_view meaning = meaning_of(code);
  if (meaning.empty()) return fail(code, std::string(error_name(code)));
  return fail(code, fmt::format("{} ({}). The broker's log says why", meaning, error_name(code)));
}

}  // namespace millrace::tools
