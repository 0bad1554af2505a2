// How functions report failure: a value or an Error from Kafka's vocabulary, with words for the person.
#pragma once

#include <expected>
#include <string>
#include <utility>

#include "protocol/error_code.h"

namespace millrace {

struct Error {
  ErrorCode code = ErrorCode::kUnknownServerError;
  // What was wrong, where, and what to do; empty where the code says all there is (hot paths).
  std::string message;
};

template <class T = void>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(ErrorCode code, std::string message = {}) {
  return std::unexpected<Error>(Error{code, std::move(message)});
}

}  // namespace millrace
