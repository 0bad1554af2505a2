// Which partition of __consumer_offsets keeps a group: as Kafka places it, so that both find each other's
// groups.
#pragma once

#include <cstdint>
#include <string_view>

namespace millrace::coordinator {

inline constexpr std::string_view kOffsetsTopic = "__consumer_offsets";

// Java's String.hashCode of the text, which is read as UTF-8; bytes that aren't become U+FFFD.
int32_t java_hash(std::string_view text);

// `count` is the number of partitions, at least 1.
int32_t partition_of_group(std::string_view group, int32_t count);

}  // namespace millrace::coordinator
