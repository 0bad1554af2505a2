#include "tools/position.h"

#include <catch2/catch.hpp>

using namespace millrace;
using namespace millrace::tools;
using Kind = Position::Kind;

namespace {
// 2026-11-24T10:00:00Z.
constexpr int64_t kNowMs = 1'795'514'400'000;

std::optional<Position> position(std::string_view text) {
  const Result<Position> parsed = parse_position(text, kNowMs);
  return parsed ? std::optional(*parsed) : std::nullopt;
}
std::optional<Range> range(std::string_view text) {
  const Result<Range> parsed = parse_range(text, kNowMs);
  return parsed ? std::optional(*parsed) : std::nullopt;
}
}  // namespace

TEST_CASE("positions") {
  CHECK(position("start") == Position{Kind::kStart});
  CHECK(position("earliest") == Position{Kind::kStart});
  CHECK(position("end") == Position{Kind::kEnd});
  CHECK(position("0") == Position{Kind::kOffset, 0});
  CHECK(position("9223372036854775807") == Position{Kind::kOffset, INT64_MAX});
  CHECK(position("-5") == Position{Kind::kBeforeEnd, 5});
  CHECK(position("@1764000000000") == Position{Kind::kTimestamp, 1'764'000'000'000});
  CHECK(position("@2026-11-24T10:00:00Z") == Position{Kind::kTimestamp, kNowMs});
  CHECK(position("@-1h") == Position{Kind::kTimestamp, kNowMs - 3'600'000});
  CHECK(position("@now") == Position{Kind::kTimestamp, kNowMs});
}

TEST_CASE("what is no position says what would be") {
  for (const char* text : {"", "x", "--5", "-", "5x", "+5", "9223372036854775808", "@", "@x", "@-1",
                           "@2026-11-24T10:00:00", "1:2", "@2026-13-01", "start:end"}) {
    INFO(text);
    const Result<Position> parsed = parse_position(text, kNowMs);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().code == ErrorCode::kInvalidRequest);
    CHECK(parsed.error().message.find("write start, end") != std::string::npos);
  }
}

TEST_CASE("ranges") {
  CHECK(range("start") == Range{{Kind::kStart}, std::nullopt});
  CHECK(range("5:10") == Range{{Kind::kOffset, 5}, Position{Kind::kOffset, 10}});
  CHECK(range("-10:-5") == Range{{Kind::kBeforeEnd, 10}, Position{Kind::kBeforeEnd, 5}});
  CHECK(range("5:") == Range{{Kind::kOffset, 5}, Position{Kind::kEnd}});
  CHECK(range(":5") == Range{{Kind::kStart}, Position{Kind::kOffset, 5}});
  CHECK(range("start:end") == Range{{Kind::kStart}, Position{Kind::kEnd}});
  CHECK(range("@-2h:@-1h") ==
        Range{{Kind::kTimestamp, kNowMs - 7'200'000}, Position{Kind::kTimestamp, kNowMs - 3'600'000}});
}

TEST_CASE("a range of offsets that ends before it starts is refused") {
  const Result<Range> backwards = parse_range("5:2", kNowMs);
  REQUIRE_FALSE(backwards);
  CHECK(backwards.error().message == "\"5:2\" ends before it starts");
  CHECK(range("5:5") == Range{{Kind::kOffset, 5}, Position{Kind::kOffset, 5}});
  CHECK(range("5:-2") == Range{{Kind::kOffset, 5}, Position{Kind::kBeforeEnd, 2}});
}

TEST_CASE("times hold colons of their own") {
  const Position now{Kind::kTimestamp, kNowMs};
  CHECK(range("@2026-11-24T10:00:00Z") == Range{now, std::nullopt});
  CHECK(range("@2026-11-24T12:00:00+02:00") == Range{now, std::nullopt});
  CHECK(range("@2026-11-24T12:00:00+02:00:end") == Range{now, Position{Kind::kEnd}});
  CHECK(range("@2026-11-24T10:00:00Z:@2026-11-24T12:00+02:00") == Range{now, now});
  CHECK(range("17:@2026-11-24T10:00:00Z") == Range{{Kind::kOffset, 17}, now});
  CHECK(range("@2026-11-24:@2026-11-24T10:00Z") == Range{{Kind::kTimestamp, kNowMs - 36'000'000}, now});
}

TEST_CASE("what is no range") {
  for (const char* text : {":", "5:x", "x:5", "1:2:3", "@2026-11-24T10:00:00"}) {
    INFO(text);
    CHECK_FALSE(range(text));
  }
}
