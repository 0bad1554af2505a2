#include "tools/position.h"

#include <fmt/format.h>

#include <charconv>

#include "tools/timestamp.h"

namespace millrace::tools {
namespace {

std::optional<int64_t> parse_offset(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

std::optional<Position> single(std::string_view text, int64_t now_ms) {
  using Kind = Position::Kind;
  // "beginning", "earliest", "latest": what kcat and Kafka's tools call them.
  if (text == "start" || text == "beginning" || text == "earliest") return Position{Kind::kStart};
  if (text == "end" || text == "latest") return Position{Kind::kEnd};
  if (text.starts_with('@')) {
    const std::optional<int64_t> time_ms = parse_timestamp_ms(text.substr(1), now_ms);
    return time_ms ? std::optional(Position{Kind::kTimestamp, *time_ms}) : std::nullopt;
  }
  const bool before_end = text.starts_with('-');
  const std::optional<int64_t> value = parse_offset(before_end ? text.substr(1) : text);
  if (!value) return std::nullopt;
  return Position{before_end ? Kind::kBeforeEnd : Kind::kOffset, *value};
}

// Of other positions only a partition tells.
bool is_backwards(const Position& from, const Position& to) {
  return from.kind == Position::Kind::kOffset && to.kind == Position::Kind::kOffset && to.value < from.value;
}

std::unexpected<Error> not_a_position(std::string_view text, bool range) {
  std::string message = fmt::format(
      "\"{}\" is not a position; write start, end, N (offset), -N (before the end), @TIME or @-1h{}", text,
      range ? ", or FROM:TO" : "");
  if (text.find('@') != std::string_view::npos) {
    message += "; TIME is milliseconds since 1970, or 2026-11-24, or 2026-11-24T10:00:00Z (with its zone)";
  }
  return fail(ErrorCode::kInvalidRequest, std::move(message));
}

}  // namespace

const std::string_view kPositionHelp =
    R"(Positions:
  start        the first record still there
  end          after the last record
  N            offset N
  -N           N records before the end, in each partition
  @TIME        the first record at or after TIME: milliseconds since 1970, 2026-11-24 (UTC),
               2026-11-24T10:00:00Z or with another zone, or relative: @-30m, @-1h, @-2d
)";

const std::string_view kRangeHelp =
    R"(  FROM:TO      a range of these; TO itself is not part of it; FROM: and :TO work too
)";

Result<Position> parse_position(std::string_view text, int64_t now_ms) {
  if (const std::optional<Position> position = single(text, now_ms)) return *position;
  return not_a_position(text, false);
}

Result<Range> parse_range(std::string_view text, int64_t now_ms) {
  // Times hold colons themselves, so a text that is one position is never a range.
  if (const std::optional<Position> position = single(text, now_ms)) return Range{*position, std::nullopt};
  for (size_t at = text.find(':'); at != std::string_view::npos; at = text.find(':', at + 1)) {
    const std::string_view left = text.substr(0, at);
    const std::string_view right = text.substr(at + 1);
    const std::optional<Position> from = left.empty() ? Position{} : single(left, now_ms);
    const std::optional<Position> to = right.empty() ? Position{Position::Kind::kEnd} : single(right, now_ms);
    if (!from || !to || text.size() == 1) continue;
    if (is_backwards(*from, *to))
      return fail(ErrorCode::kInvalidRequest, fmt::format("\"{}\" ends before it starts", text));
    return Range{*from, *to};
  }
  return not_a_position(text, true);
}

Check position_value() {
  return [](const std::string& value) -> std::optional<std::string> {
    const Result<Position> position = parse_position(value, wall_clock_ms());
    return position ? std::nullopt : std::optional(position.error().message);
  };
}

Check range_value() {
  return [](const std::string& value) -> std::optional<std::string> {
    const Result<Range> range = parse_range(value, wall_clock_ms());
    return range ? std::nullopt : std::optional(range.error().message);
  };
}

}  // namespace millrace::tools
