#include "tools/seek_target.h"

#include <fmt/format.h>

#include "tools/timestamp.h"

namespace millrace::tools {

const std::string_view kSeekTargetHelp =
    R"(Where to:
  start        the first record still there
  end          after the last record: skips all that is there
  end-N        N records before the end, in each partition
  N            offset N
  +N, -N       N records on, or back, from where the group is, in each partition
  @TIME        the first record at or after TIME: milliseconds since 1970, 2026-11-24 (UTC),
               2026-11-24T10:00:00Z or with another zone, or relative: @-30m, @-1h, @-2d
)";

Result<SeekTarget> parse_seek_target(std::string_view text, int64_t now_ms) {
  constexpr std::string_view kBeforeEnd = "end-";
  const auto count = [&](std::string_view digits) -> std::optional<int64_t> {
    const Result<Position> position = parse_position(digits, now_ms);
    if (!position || position->kind != Position::Kind::kOffset) return std::nullopt;
    return position->value;
  };
  if (text.starts_with('+') || text.starts_with('-')) {
    if (const std::optional<int64_t> records = count(text.substr(1)))
      return Step{text[0] == '-' ? -*records : *records};
  } else if (text.starts_with(kBeforeEnd)) {
    if (const std::optional<int64_t> records = count(text.substr(kBeforeEnd.size())))
      return Position{Position::Kind::kBeforeEnd, *records};
  } else if (const Result<Position> position = parse_position(text, now_ms)) {
    return *position;
  }
  return fail(
      ErrorCode::kInvalidRequest,
      fmt::format("\"{}\" is no place to go to; write start, end, end-N, N (offset), +N or -N (from where "
                  "the group is), @TIME or @-1h; TIME is milliseconds since 1970, or 2026-11-24, or "
                  "2026-11-24T10:00:00Z (with its zone)",
                  text));
}

Check seek_target_value() {
  return [](const std::string& value) -> std::optional<std::string> {
    const Result<SeekTarget> target = parse_seek_target(value, wall_clock_ms());
    return target ? std::nullopt : std::optional(target.error().message);
  };
}

}  // namespace millrace::tools
