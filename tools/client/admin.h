// What changes topics: create, delete, add partitions, delete records; and what describes the cluster.
//
// All names and messages in errors are ready for a person. Unless said otherwise errors are the broker's own
// code, with its message.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tools/client/cluster.h"

namespace millrace::tools {

struct NewTopic {
  std::string name;
  // -1: the broker's default.
  int32_t partitions = -1;
  int16_t replication_factor = -1;
  std::vector<std::pair<std::string, std::string>> configs;
};

struct CreatedTopic {
  Uuid id;
  int32_t partitions = -1;
  int16_t replication_factor = -1;
};

// kTopicAlreadyExists, kInvalidTopicException, kInvalidConfig, kInvalidPartitions, ...
Result<CreatedTopic> create_topic(Cluster& cluster, const NewTopic& topic, bool validate_only);

// One result per name, in order.
Result<std::vector<Result<void>>> delete_topics(Cluster& cluster, const std::vector<std::string>& names);

// `total` is the number of partitions afterwards.
Result<void> create_partitions(Cluster& cluster, const std::string& topic, int32_t total);

// Deletes the records before the offsets given by partition. Answers with the new log start offsets, or the
// error, of each.
Result<std::map<int32_t, Result<int64_t>>> delete_records(Cluster& cluster, const TopicInfo& topic,
                                                          const std::map<int32_t, int64_t>& before);

// Bytes on disk by topic and partition, the largest replica of each.
using PartitionSizes = std::map<std::pair<std::string, int32_t>, int64_t>;
Result<PartitionSizes> partition_sizes(Cluster& cluster, const std::optional<TopicInfo>& topic);

}  // namespace millrace::tools
