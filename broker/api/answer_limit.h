// Requests that name several groups: each is answered once, in turn with other requests, and within what one
// answer may hold, since a small request may name many large ones.
#pragma once

#include <cstddef>
#include <set>
#include <string_view>
#include <vector>

#include "broker/api/context.h"
#include "broker/runtime/task.h"
#include "protocol/arena.h"
#include "protocol/error_code.h"

namespace millrace::api {

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

// What is asked of groups at once; then others get a turn.
inline constexpr size_t kGroupsPerTurn = 100;

// Answers `count` groups in turn: `answer(i)`, a coroutine, while there is room, and then `refuse(i)`. The
// first always finds room, so whoever asks for the rest again gets further.
template <class Answer, class Refuse>
runtime::Task<> answer_within_limit(Context& context, size_t count, const Answer& answer,
                                    const Refuse& refuse) {
  const AnswerLimit limit(context.arena);
  for (size_t i = 0; i < count; ++i) {
    if (i % kGroupsPerTurn == kGroupsPerTurn - 1) co_await context.give_way();
    if (limit.reached()) {
      refuse(i);
    } else {
      co_await answer(i);
    }
  }
}

// The groups that a request names, each once: one that repeats a large one could have any amount of memory.
inline std::vector<std::string_view> named_once(const Array<std::string_view>& names) {
  std::set<std::string_view> seen;
  std::vector<std::string_view> once;
  for (const std::string_view name : names) {
    if (seen.insert(name).second) once.push_back(name);
  }
  return once;
}

}  // namespace millrace::api
