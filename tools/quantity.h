// Sizes, counts and durations as people write and read them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tools/command.h"

namespace millrace::tools {

// "500", "64k", "1M", "2GiB" (powers of 1024) in bytes; nothing for any other text or an overflow.
std::optional<int64_t> parse_size(std::string_view text);
// "500ms", "30s", "5m", "1h30m", "2d", "1w" in milliseconds; a number without a unit is nothing.
std::optional<int64_t> parse_duration_ms(std::string_view text);

// "1.5 MiB"; "512 B".
std::string format_size(double bytes);
// "12,345,678".
std::string format_count(int64_t count);
// "1d 2h", "3m 20s", "4.2s", "250ms".
std::string format_duration(int64_t duration_ms);

// Checks for options.
Check size_value(int64_t least);
Check duration_value();

}  // namespace millrace::tools
