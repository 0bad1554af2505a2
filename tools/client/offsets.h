// From positions (start, end, -100, @-1h, ...) to offsets.
#pragma once

#include <cstdint>
#include <map>

#include "tools/client/cluster.h"
#include "tools/position.h"

namespace millrace::tools {

// Timestamps with a meaning of their own in ListOffsets.
inline constexpr int64_t kLatestTimestamp = -1;
inline constexpr int64_t kEarliestTimestamp = -2;
inline constexpr int64_t kMaxTimestamp = -3;

enum class Isolation : int8_t { kReadUncommitted = 0, kReadCommitted = 1 };

using Offsets = std::map<int32_t, int64_t>;

// For each partition the offset of the first record at or after `timestamp_ms`, -1 where there is none; or
// what one of the special timestamps asks for. Follows leaders that move. Errors name topic and partition.
Result<Offsets> list_offsets(Cluster& cluster, const std::string& topic,
                             const std::vector<int32_t>& partitions, int64_t timestamp_ms,
                             Isolation isolation);

// The same; but partitions that the broker calls out of service (kKafkaStorageError: they stay so until
// somebody mends the disk) are moved from `partitions` to `out_of_service`, and the others are answered.
Result<Offsets> list_offsets_in_service(Cluster& cluster, const std::string& topic,
                                        std::vector<int32_t>& partitions, int64_t timestamp_ms,
                                        Isolation isolation, std::vector<int32_t>& out_of_service);

// What a person is told of them.
std::string out_of_service_note(const std::string& topic, const std::vector<int32_t>& partitions);

// For each partition the offset that the position stands for. A time after the last record is the end.
// Offsets given as numbers come back as they are, whether or not the partition has them.
Result<Offsets> resolve(Cluster& cluster, const std::string& topic, const std::vector<int32_t>& partitions,
                        const Position& position, Isolation isolation);

}  // namespace millrace::tools
