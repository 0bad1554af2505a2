// Which partition a key goes to: the choice of Kafka's Java client, so that keys land where Java puts them.
#pragma once

#include <cstdint>
#include <string_view>

namespace millrace::tools {

// The 32-bit murmur2 with Kafka's seed.
uint32_t murmur2(std::string_view bytes);

// Needs partition_count > 0.
int32_t partition_for_key(std::string_view key, int32_t partition_count);

}  // namespace millrace::tools
