// Values as people write them: numbers with a unit ("512MiB", "7d") become Kafka's raw numbers.
#pragma once

#include <string>
#include <string_view>

#include "broker/metadata/setting.h"
#include "protocol/result.h"

namespace millrace::broker {

// The value in the setting's own unit, trimmed; text without a unit stays as it is. Bytes: B, KB, MB, GB, TB
// (powers of 1000), KiB, MiB, GiB, TiB (of 1024). Times: ms, s, m or min, h, d, w. Fails with kInvalidConfig
// and the reason: an unknown unit, not a whole number of the setting's unit, too large.
Result<std::string> plain_value(const metadata::Setting& setting, std::string_view text);

// A raw number for people, in the largest unit that divides it: "1GiB", "7d". Others are returned as they
// are.
std::string readable_value(const metadata::Setting& setting, std::string_view value);

// The whole check: units, then Kafka's check. On success the plain value; else what is wrong and what is
// allowed.
Result<std::string> checked_value(const metadata::Setting& setting, std::string_view text);

}  // namespace millrace::broker
