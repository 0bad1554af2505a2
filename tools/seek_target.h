// Where `group seek --to` moves a group: positions, and steps from where the group is.
//
//   start, end, N, @TIME   as everywhere (position.h)
//   +N, -N                 N records on, or back, from the group's committed offset
//   end-N                  N records before the end: what other commands call -N
#pragma once

#include <cstdint>
#include <string_view>
#include <variant>

#include "tools/position.h"

namespace millrace::tools {

// Records on from the committed offset; negative goes back.
struct Step {
  int64_t records = 0;
  bool operator==(const Step&) const = default;
};

using SeekTarget = std::variant<Position, Step>;

// kInvalidRequest with the grammar in the message for anything else. Relative times count from `now_ms`.
Result<SeekTarget> parse_seek_target(std::string_view text, int64_t now_ms);
Check seek_target_value();

// The grammar, for the help page.
extern const std::string_view kSeekTargetHelp;

}  // namespace millrace::tools
