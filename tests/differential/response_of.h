// Which message answers which, for the APIs that are compared.
#pragma once

#include "protocol/messages/alter_configs.h"
#include "protocol/messages/api_versions.h"
#include "protocol/messages/consumer_group_describe.h"
#include "protocol/messages/consumer_group_heartbeat.h"
#include "protocol/messages/create_partitions.h"
#include "protocol/messages/create_topics.h"
#include "protocol/messages/delete_groups.h"
#include "protocol/messages/delete_records.h"
#include "protocol/messages/delete_topics.h"
#include "protocol/messages/describe_cluster.h"
#include "protocol/messages/describe_configs.h"
#include "protocol/messages/describe_groups.h"
#include "protocol/messages/describe_log_dirs.h"
#include "protocol/messages/describe_producers.h"
#include "protocol/messages/describe_topic_partitions.h"
#include "protocol/messages/fetch.h"
#include "protocol/messages/find_coordinator.h"
#include "protocol/messages/heartbeat.h"
#include "protocol/messages/incremental_alter_configs.h"
#include "protocol/messages/init_producer_id.h"
#include "protocol/messages/join_group.h"
#include "protocol/messages/leave_group.h"
#include "protocol/messages/list_config_resources.h"
#include "protocol/messages/list_groups.h"
#include "protocol/messages/list_offsets.h"
#include "protocol/messages/metadata.h"
#include "protocol/messages/offset_commit.h"
#include "protocol/messages/offset_delete.h"
#include "protocol/messages/offset_fetch.h"
#include "protocol/messages/offset_for_leader_epoch.h"
#include "protocol/messages/produce.h"
#include "protocol/messages/sync_group.h"

namespace millrace::differential {

template <class Request>
struct ResponseOf;

// kReads: asking again changes nothing, so that an answer may be awaited.
#define MILLRACE_ANSWERED(name, reads)         \
  template <>                                  \
  struct ResponseOf<protocol::name##Request> { \
    using Type = protocol::name##Response;     \
    static constexpr bool kReads = reads;      \
  }

MILLRACE_ANSWERED(AlterConfigs, false);
MILLRACE_ANSWERED(ApiVersions, true);
MILLRACE_ANSWERED(ConsumerGroupDescribe, true);
MILLRACE_ANSWERED(ConsumerGroupHeartbeat, false);
MILLRACE_ANSWERED(CreatePartitions, false);
MILLRACE_ANSWERED(CreateTopics, false);
MILLRACE_ANSWERED(DeleteGroups, false);
MILLRACE_ANSWERED(DeleteRecords, false);
MILLRACE_ANSWERED(DeleteTopics, false);
MILLRACE_ANSWERED(DescribeCluster, true);
MILLRACE_ANSWERED(DescribeConfigs, true);
MILLRACE_ANSWERED(DescribeGroups, true);
MILLRACE_ANSWERED(DescribeLogDirs, true);
MILLRACE_ANSWERED(DescribeProducers, true);
MILLRACE_ANSWERED(DescribeTopicPartitions, true);
MILLRACE_ANSWERED(Fetch, false);
MILLRACE_ANSWERED(FindCoordinator, true);
MILLRACE_ANSWERED(Heartbeat, false);
MILLRACE_ANSWERED(IncrementalAlterConfigs, false);
MILLRACE_ANSWERED(InitProducerId, false);
MILLRACE_ANSWERED(JoinGroup, false);
MILLRACE_ANSWERED(LeaveGroup, false);
MILLRACE_ANSWERED(ListConfigResources, true);
MILLRACE_ANSWERED(ListGroups, true);
MILLRACE_ANSWERED(ListOffsets, true);
MILLRACE_ANSWERED(Metadata, true);
MILLRACE_ANSWERED(OffsetCommit, false);
MILLRACE_ANSWERED(OffsetDelete, false);
MILLRACE_ANSWERED(OffsetFetch, true);
MILLRACE_ANSWERED(OffsetForLeaderEpoch, true);
MILLRACE_ANSWERED(Produce, false);
MILLRACE_ANSWERED(SyncGroup, false);

#undef MILLRACE_ANSWERED

}  // namespace millrace::differential
