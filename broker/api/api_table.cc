#include "broker/api/api_table.h"

#include <array>

#include "broker/api/handlers.h"
#include "broker/api/serve.h"
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

namespace millrace::api {
namespace {

using protocol::ApiKey;

// A row whose versions are those that the schema describes.
constexpr ApiRow row(ApiKey key, Handler handler) {
  const protocol::ApiInfo* info = protocol::find_api(key);
  return {key, info->min_version, info->max_version, info->min_version, handler};
}

// librdkafka compresses only for brokers that advertise Produce from version 0 on. Nobody sends the versions
// below 3 (message formats of the past), and they are not served: Apache Kafka 4 does the same (KIP-896).
constexpr ApiRow advertised_from_0(ApiRow row) {
  row.min_version = 0;
  return row;
}

#define MILLRACE_API(name, handler) \
  row(ApiKey::k##name, &serve<protocol::name##Request, protocol::name##Response, &handler>)
#define MILLRACE_API_NOW(name, handler) \
  row(ApiKey::k##name, &serve_now<protocol::name##Request, protocol::name##Response, &handler>)

constexpr auto kTable = std::to_array<ApiRow>({
    advertised_from_0(MILLRACE_API(Produce, produce)),
    MILLRACE_API(Fetch, fetch),
    MILLRACE_API(ListOffsets, list_offsets),
    MILLRACE_API(Metadata, metadata),
    MILLRACE_API(OffsetCommit, offset_commit),
    MILLRACE_API(OffsetFetch, offset_fetch),
    MILLRACE_API(FindCoordinator, find_coordinator),
    MILLRACE_API(JoinGroup, join_group),
    MILLRACE_API(Heartbeat, heartbeat),
    MILLRACE_API(LeaveGroup, leave_group),
    MILLRACE_API(SyncGroup, sync_group),
    MILLRACE_API(DescribeGroups, describe_groups),
    MILLRACE_API(ListGroups, list_groups),
    MILLRACE_API_NOW(ApiVersions, api_versions),
    MILLRACE_API(CreateTopics, create_topics),
    MILLRACE_API(DeleteTopics, delete_topics),
    MILLRACE_API(DeleteRecords, delete_records),
    MILLRACE_API(InitProducerId, init_producer_id),
    MILLRACE_API(OffsetForLeaderEpoch, offset_for_leader_epoch),
    MILLRACE_API_NOW(DescribeConfigs, describe_configs),
    MILLRACE_API(AlterConfigs, alter_configs),
    MILLRACE_API(DescribeLogDirs, describe_log_dirs),
    MILLRACE_API(CreatePartitions, create_partitions),
    MILLRACE_API(DeleteGroups, delete_groups),
    MILLRACE_API(IncrementalAlterConfigs, incremental_alter_configs),
    MILLRACE_API(OffsetDelete, offset_delete),
    MILLRACE_API_NOW(DescribeCluster, describe_cluster),
    MILLRACE_API(DescribeProducers, describe_producers),
    MILLRACE_API(ConsumerGroupHeartbeat, consumer_group_heartbeat),
    MILLRACE_API(ConsumerGroupDescribe, consumer_group_describe),
    MILLRACE_API_NOW(ListConfigResources, list_config_resources),
    MILLRACE_API_NOW(DescribeTopicPartitions, describe_topic_partitions),
});

#undef MILLRACE_API
#undef MILLRACE_API_NOW

constexpr bool is_sorted() {
  for (size_t i = 1; i < kTable.size(); ++i) {
    if (kTable[i - 1].key >= kTable[i].key) return false;
  }
  return true;
}
static_assert(is_sorted(), "the API table goes by ascending key");

}  // namespace

std::span<const ApiRow> api_table() { return kTable; }

const ApiRow* find_api(int16_t key) {
  for (const ApiRow& row : kTable) {
    if (row.key == static_cast<ApiKey>(key)) return &row;
  }
  return nullptr;
}

}  // namespace millrace::api
