#include "tools/quantity.h"

#include <catch2/catch.hpp>

using namespace millrace::tools;

TEST_CASE("sizes") {
  CHECK(parse_size("0") == 0);
  CHECK(parse_size("500") == 500);
  CHECK(parse_size("64k") == 65'536);
  CHECK(parse_size("1.5MiB") == 1'572'864);
  CHECK(parse_size("2GB") == int64_t{2} << 30);
  for (const char* text : {"", "k", "1x", "-1", "1kk", "1e30", "9999999T"}) {
    INFO(text);
    CHECK_FALSE(parse_size(text));
  }
  CHECK(format_size(512) == "512 B");
  CHECK(format_size(1536) == "1.5 KiB");
  CHECK(format_size(1048576) == "1.0 MiB");
}

TEST_CASE("durations") {
  CHECK(parse_duration_ms("500ms") == 500);
  CHECK(parse_duration_ms("1h30m") == 5'400'000);
  CHECK(parse_duration_ms("0.5s") == 500);
  CHECK(parse_duration_ms("1w") == 604'800'000);
  for (const char* text : {"", "5", "h", "1h30", "-1s", "1y", "99999999999999w"}) {
    INFO(text);
    CHECK_FALSE(parse_duration_ms(text));
  }
  CHECK(format_duration(250) == "250ms");
  CHECK(format_duration(4200) == "4.2s");
  CHECK(format_duration(200'000) == "3m 20s");
  CHECK(format_duration(93'600'000) == "1d 2h");
}

TEST_CASE("counts") {
  CHECK(format_count(0) == "0");
  CHECK(format_count(999) == "999");
  CHECK(format_count(1000) == "1,000");
  CHECK(format_count(12'345'678) == "12,345,678");
  CHECK(format_count(-123'456) == "-123,456");
}
