// Consumer groups as an administrator sees them: list, describe, delete. Both kinds: "classic" and "consumer"
// (KIP-848).
//
// A group is asked about at its coordinator, which may move: all of these find it, and again when it has
// moved. They need FindCoordinator 4 (Apache Kafka 3.0).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tools/client/cluster.h"

namespace millrace::tools {

struct GroupListing {
  std::string name;
  // "consumer" for groups of consumers, whatever the type; empty for a group of nothing but commits.
  std::string protocol_type;
  // "Stable", "Empty", ...; empty from brokers before Kafka 2.6.
  std::string state;
  // "classic", "consumer", ...; empty from brokers before Kafka 3.8.
  std::string type;
};

// Partitions by topic, in order.
using TopicPartitions = std::map<std::string, std::vector<int32_t>>;

struct GroupMember {
  std::string id;
  std::optional<std::string> instance_id;
  std::optional<std::string> rack;
  std::string client_id;
  std::string host;
  // -1 in classic groups; -2 when a static member has left, whose partitions wait for it until its session
  // ends (KIP-848).
  int32_t epoch = -1;
  // In a group of type consumer, by the classic protocol; unknown before ConsumerGroupDescribe 1.
  std::optional<bool> classic;
  std::vector<std::string> topics;
  std::optional<std::string> topic_regex;
  TopicPartitions assignment;
  // What it will have once the group has settled; nothing in classic groups.
  std::optional<TopicPartitions> target;

  bool has_left() const { return epoch == -2; }
  size_t partition_count() const;
};

struct GroupDescription {
  std::string name;
  std::string type;
  std::string protocol_type;
  std::string state;
  // The assignor of consumer groups, the chosen protocol of classic ones: "uniform", "range", ...
  std::string assignor;
  // -1 in classic groups.
  int32_t epoch = -1;
  int32_t assignment_epoch = -1;
  int32_t coordinator = -1;
  std::vector<GroupMember> members;
};

// All groups of all brokers, in order of their names.
Result<std::vector<GroupListing>> list_groups(Cluster& cluster);

// One result per name. kGroupIdNotFound, also for groups that are neither classic nor consumer.
Result<std::map<std::string, Result<GroupDescription>>> describe_groups(
    Cluster& cluster, const std::vector<std::string>& names);
// One group; an unknown one is answered with no_such_group.
Result<GroupDescription> describe_group(Cluster& cluster, const std::string& name);

// One result per name. kNonEmptyGroup, kGroupIdNotFound.
Result<std::map<std::string, Result<void>>> delete_groups(Cluster& cluster,
                                                          const std::vector<std::string>& names);

// The words for a group that isn't there, with a similar name. Asks the cluster.
Error no_such_group(Cluster& cluster, const std::string& name);

// The broker that coordinates the group.
Result<int32_t> find_coordinator(Cluster& cluster, const std::string& group);

// Asks the group's coordinator, wherever it is by then. `verdict` finds the answer's error.
template <class Answer, class Request>
Result<Reply<Answer>> call_coordinator(Cluster& cluster, const std::string& group, const Request& request,
                                       const std::function<ErrorCode(const Answer&)>& verdict,
                                       int16_t limit = INT16_MAX) {
  const auto pick = [&]() -> Result<Connection*> {
    const Result<int32_t> broker = find_coordinator(cluster, group);
    if (!broker) return std::unexpected(broker.error());
    return cluster.broker(*broker);
  };
  return cluster.call<Answer>(pick, request, verdict, true, limit);
}

}  // namespace millrace::tools
