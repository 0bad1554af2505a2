#include "tools/seek_target.h"

#include <catch2/catch.hpp>

using namespace millrace;
using namespace millrace::tools;
using Kind = Position::Kind;

namespace {

constexpr int64_t kNowMs = 1'800'000'000'000;

std::optional<SeekTarget> parse(std::string_view text) {
  const Result<SeekTarget> target = parse_seek_target(text, kNowMs);
  return target ? std::optional(*target) : std::nullopt;
}

}  // namespace

TEST_CASE("steps count from where the group is, end-N from the end") {
  CHECK(parse("+10") == SeekTarget(Step{10}));
  CHECK(parse("-10") == SeekTarget(Step{-10}));
  CHECK(parse("+0") == SeekTarget(Step{0}));
  CHECK(parse("end-10") == SeekTarget(Position{Kind::kBeforeEnd, 10}));
  CHECK(parse("end-0") == SeekTarget(Position{Kind::kBeforeEnd, 0}));
}

TEST_CASE("positions are those of every command") {
  CHECK(parse("start") == SeekTarget(Position{Kind::kStart}));
  CHECK(parse("earliest") == SeekTarget(Position{Kind::kStart}));
  CHECK(parse("end") == SeekTarget(Position{Kind::kEnd}));
  CHECK(parse("10") == SeekTarget(Position{Kind::kOffset, 10}));
  CHECK(parse("@-1h") == SeekTarget(Position{Kind::kTimestamp, kNowMs - 3'600'000}));
  CHECK(parse("@5") == SeekTarget(Position{Kind::kTimestamp, 5}));
}

TEST_CASE("other texts are refused with the grammar") {
  for (const std::string_view text :
       {"", "+", "-", "--5", "+-5", "end-", "end--1", "end+1", "start-1", "@", "ten", "5:10", "+@5",
        "end-start", "99999999999999999999", "-99999999999999999999"}) {
    INFO(text);
    const Result<SeekTarget> target = parse_seek_target(text, kNowMs);
    REQUIRE_FALSE(target);
    CHECK(target.error().message.find("end-N") != std::string::npos);
  }
}
