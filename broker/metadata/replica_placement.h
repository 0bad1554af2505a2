// Which brokers hold which replicas of new partitions: chosen here, or checked where the request names them.
#pragma once

#include <cstdint>
#include <vector>

#include "broker/metadata/cluster_image.h"
#include "broker/runtime/random.h"
#include "protocol/result.h"

namespace millrace::metadata {

using Replicas = std::vector<std::vector<int32_t>>;  // by partition

// Spreads replicas and leaders evenly over the registered brokers, from a random first one. Fails with
// kInvalidReplicationFactor when there are too few.
Result<Replicas> place_replicas(const ClusterImage& image, int32_t partitions, int16_t replication_factor,
                                runtime::Random& random);

// A list that a request gives for one partition; `replication_factor` is that of the partitions before it, or
// -1. Fails with kInvalidReplicaAssignment.
Result<> check_replicas(const ClusterImage& image, const std::vector<int32_t>& replicas,
                        int replication_factor);

// A partition that nobody has written to.
PartitionImage new_partition(std::vector<int32_t> replicas);

}  // namespace millrace::metadata
