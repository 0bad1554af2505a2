// Points in time as people write them. All are milliseconds since 1970 UTC, Kafka's record timestamps.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace millrace::tools {

// Reads "1764000000000" (milliseconds), "2026-11-24T10:00:00.5Z", "2026-11-24T10:00+02:00", "2026-11-24"
// (midnight UTC), "now" or, relative to `now_ms`, "-1h", "-30m", "-1d12h". A time of day without a zone is
// nothing: it would mean something else on another machine.
std::optional<int64_t> parse_timestamp_ms(std::string_view text, int64_t now_ms);

// "2026-11-24T10:00:00.500Z".
std::string format_timestamp(int64_t timestamp_ms);

// The wall clock.
int64_t wall_clock_ms();

}  // namespace millrace::tools
