// Positions in a partition: the one grammar that every command understands.
//
//   start   the first record still there        end    after the last record
//   N       offset N                            -N     N records before the end
//   @TIME   the first record at or after TIME: milliseconds since 1970, ISO 8601 with a zone, or -1h, -30m,
//   -2d ago FROM:TO a range; TO is not part of it; either side may be left out (start, end)
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "protocol/result.h"
#include "tools/command.h"

namespace millrace::tools {

struct Position {
  enum class Kind { kStart, kEnd, kOffset, kBeforeEnd, kTimestamp };
  Kind kind = Kind::kStart;
  // The offset, the number of records before the end, or milliseconds since 1970.
  int64_t value = 0;

  bool operator==(const Position&) const = default;
};

struct Range {
  Position from;
  std::optional<Position> to;

  bool operator==(const Range&) const = default;
};

// kInvalidRequest with the grammar in the message for anything else. Relative times count from `now_ms`.
Result<Position> parse_position(std::string_view text, int64_t now_ms);
Result<Range> parse_range(std::string_view text, int64_t now_ms);

// Checks for options.
Check position_value();
Check range_value();

// The grammar, for help pages: what one position is, and the line to follow where a range is taken too.
extern const std::string_view kPositionHelp;
extern const std::string_view kRangeHelp;

}  // namespace millrace::tools
