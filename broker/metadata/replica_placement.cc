#include "broker/metadata/replica_placement.h"

#include <fmt/format.h>

#include <algorithm>

namespace millrace::metadata {

Result<Replicas> place_replicas(const ClusterImage& image, int32_t partitions, int16_t replication_factor,
                                runtime::Random& random) {
  std::vector<int32_t> brokers;
  for (const auto& [id, broker] : image.brokers()) brokers.push_back(id);
  if (static_cast<size_t>(replication_factor) > brokers.size()) {
    return fail(
        ErrorCode::kInvalidReplicationFactor,
        fmt::format(
            "Unable to replicate the partition {} time(s): The target replication factor of {} cannot "
            "be reached because only {} broker(s) are registered.",
            replication_factor, replication_factor, brokers.size()));
  }
  Replicas replicas(static_cast<size_t>(partitions));
  const size_t first = random.below(brokers.size());
  for (size_t p = 0; p < replicas.size(); ++p) {
    // The followers of a broker's partitions move on with every round, so that its load spreads when it dies.
    const size_t round = p / brokers.size();
    replicas[p].push_back(brokers[(first + p) % brokers.size()]);
    for (int16_t r = 1; r < replication_factor; ++r) {
      const size_t distance = 1 + (round + static_cast<size_t>(r) - 1) % (brokers.size() - 1);
      replicas[p].push_back(brokers[(first + p + distance) % brokers.size()]);
    }
  }
  return replicas;
}

Result<> check_replicas(const ClusterImage& image, const std::vector<int32_t>& replicas,
                        int replication_factor) {
  const auto bad = [](std::string why) { return fail(ErrorCode::kInvalidReplicaAssignment, std::move(why)); };
  if (replicas.empty()) return bad("The manual partition assignment includes an empty replica list.");
  std::vector<int32_t> sorted = replicas;
  std::ranges::sort(sorted);
  for (size_t i = 0; i < sorted.size(); ++i) {
    if (!image.brokers().contains(sorted[i])) {
      return bad(
          fmt::format("The manual partition assignment includes broker {}, but no such broker is registered.",
                      sorted[i]));
    }
    if (i > 0 && sorted[i] == sorted[i - 1]) {
      return bad(
          fmt::format("The manual partition assignment includes the broker {} more than once.", sorted[i]));
    }
  }
  if (replication_factor != -1 && sorted.size() != static_cast<size_t>(replication_factor)) {
    return bad(fmt::format(
        "The manual partition assignment includes a partition with {} replica(s), but this is not "
        "consistent with previous partitions, which have {} replica(s).",
        sorted.size(), replication_factor));
  }
  return {};
}

PartitionImage new_partition(std::vector<int32_t> replicas) {
  PartitionImage partition;
  partition.isr = replicas;
  partition.leader = replicas.front();
  partition.replicas = std::move(replicas);
  return partition;
}

}  // namespace millrace::metadata
