// A topic's configuration as values, for whoever acts on it: the log, and the partition that acknowledges.
#pragma once

#include <cstdint>

#include "broker/metadata/broker_settings.h"
#include "broker/metadata/cluster_image.h"
#include "broker/metadata/topic_settings.h"
#include "storage/log_config.h"

namespace millrace::metadata {

struct TopicConfig {
  storage::LogConfig log;
  // Already no more than the replication factor.
  int32_t min_insync_replicas = 1;
  bool unclean_leader_election = false;
};

// As it holds on this broker: the topic's own, else the default that the broker's settings give (which change
// when ImageDelta::broker_configs says so). Costs some thirty lookups: keep it, don't ask per request.
TopicConfig topic_config(const StaticConfig& config, const ClusterImage& image, int32_t node_id,
                         const TopicImage& topic);
TopicConfig topic_config(const ConfigMap& configs, const BrokerValue& broker);

}  // namespace millrace::metadata
