#include "tools/timestamp.h"

#include <catch2/catch.hpp>

using millrace::tools::format_timestamp;
using millrace::tools::parse_timestamp_ms;

namespace {
constexpr int64_t kNowMs = 1'795'514'400'000;
}

TEST_CASE("times in ISO 8601") {
  CHECK(parse_timestamp_ms("1970-01-01T00:00:00Z", 0) == 0);
  CHECK(parse_timestamp_ms("2026-11-24", 0) == 1'795'478'400'000);
  CHECK(parse_timestamp_ms("2026-11-24T10:00:00.5Z", 0) == kNowMs + 500);
  CHECK(parse_timestamp_ms("2026-11-24T10:00:00.123456789Z", 0) == kNowMs + 123);
  CHECK(parse_timestamp_ms("2026-11-24 04:30-05:30", 0) == kNowMs);
  CHECK(parse_timestamp_ms("2026-11-24T12:00+0200", 0) == kNowMs);
  CHECK(parse_timestamp_ms("2024-02-29T00:00Z", 0) == 1'709'164'800'000);
}

TEST_CASE("times relative to now") {
  CHECK(parse_timestamp_ms("-30m", kNowMs) == kNowMs - 1'800'000);
  CHECK(parse_timestamp_ms("-1d12h", kNowMs) == kNowMs - 129'600'000);
  CHECK(parse_timestamp_ms("-250ms", kNowMs) == kNowMs - 250);
  CHECK(parse_timestamp_ms("now", kNowMs) == kNowMs);
}

TEST_CASE("what is no time") {
  for (const char* text :
       {"", "yesterday", "2026-11-24T10:00", "2026-02-30", "2026-11-24T24:00Z", "2026-11-24T10:60Z",
        "2026-11-24T10:00:00.Z", "2026-1-1", "-1", "-1y", "-", "2026-11-24T10:00Zx", "12e3"}) {
    INFO(text);
    CHECK_FALSE(parse_timestamp_ms(text, kNowMs));
  }
}

TEST_CASE("times are written in UTC with milliseconds") {
  CHECK(format_timestamp(kNowMs + 7) == "2026-11-24T10:00:00.007Z");
  CHECK(format_timestamp(-1) == "1969-12-31T23:59:59.999Z");
}
