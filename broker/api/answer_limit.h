// How much one answer may hold of what several groups have stored: a small request may name many large ones.
#pragma once

#include <cstddef>

#include "protocol/arena.h"
#include "protocol/error_code.h"

namespace millrace::api {

// Ask reached() before each group. The first always finds room, so whoever asks for the rest again gets
// further.
class AnswerLimit {
 public:
  static constexpr size_t kBytes = size_t{16} << 20;
  // For the groups that no longer fit: clients ask again for what is answered so, and only for that.
  static constexpr ErrorCode kError = ErrorCode::kCoordinatorLoadInProgress;
  static constexpr const char* kMessage =
      "The groups before this one fill the answer; ask for this one again.";

  // Counts what the arena gives out from now on.
  explicit AnswerLimit(const Arena& arena) : arena_(arena), before_(arena.used()) {}
  bool reached() const { return arena_.used() - before_ >= kBytes; }

 private:
  const Arena& arena_;
  const size_t before_;
};

}  // namespace millrace::api
