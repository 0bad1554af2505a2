// The handlers of all APIs. Each takes a decoded request and fills the response, whose arrays and texts live
// in the context's arena; errors go into the response, as Kafka answers them. The files are named after the
// API families.
#pragma once

#include "broker/api/context.h"
#include "broker/runtime/task.h"

namespace millrace::protocol {
struct AlterConfigsRequest;
struct AlterConfigsResponse;
struct ApiVersionsRequest;
struct ApiVersionsResponse;
struct ConsumerGroupDescribeRequest;
struct ConsumerGroupDescribeResponse;
struct ConsumerGroupHeartbeatRequest;
struct ConsumerGroupHeartbeatResponse;
struct CreatePartitionsRequest;
struct CreatePartitionsResponse;
struct CreateTopicsRequest;
struct CreateTopicsResponse;
struct DeleteGroupsRequest;
struct DeleteGroupsResponse;
struct DeleteRecordsRequest;
struct DeleteRecordsResponse;
struct DeleteTopicsRequest;
struct DeleteTopicsResponse;
struct DescribeClusterRequest;
struct DescribeClusterResponse;
struct DescribeConfigsRequest;
struct DescribeConfigsResponse;
struct DescribeGroupsRequest;
struct DescribeGroupsResponse;
struct DescribeLogDirsRequest;
struct DescribeLogDirsResponse;
struct DescribeProducersRequest;
struct DescribeProducersResponse;
struct DescribeTopicPartitionsRequest;
struct DescribeTopicPartitionsResponse;
struct FetchRequest;
struct FetchResponse;
struct FindCoordinatorRequest;
struct FindCoordinatorResponse;
struct HeartbeatRequest;
struct HeartbeatResponse;
struct IncrementalAlterConfigsRequest;
struct IncrementalAlterConfigsResponse;
struct InitProducerIdRequest;
struct InitProducerIdResponse;
struct JoinGroupRequest;
struct JoinGroupResponse;
struct LeaveGroupRequest;
struct LeaveGroupResponse;
struct ListConfigResourcesRequest;
struct ListConfigResourcesResponse;
struct ListGroupsRequest;
struct ListGroupsResponse;
struct ListOffsetsRequest;
struct ListOffsetsResponse;
struct MetadataRequest;
struct MetadataResponse;
struct OffsetCommitRequest;
struct OffsetCommitResponse;
struct OffsetDeleteRequest;
struct OffsetDeleteResponse;
struct OffsetFetchRequest;
struct OffsetFetchResponse;
struct OffsetForLeaderEpochRequest;
struct OffsetForLeaderEpochResponse;
struct ProduceRequest;
struct ProduceResponse;
struct SyncGroupRequest;
struct SyncGroupResponse;
}  // namespace millrace::protocol

namespace millrace::api {

using runtime::Task;

// produce.cc, fetch.cc
Task<> produce(Context&, const protocol::ProduceRequest&, protocol::ProduceResponse&);
Task<> fetch(Context&, const protocol::FetchRequest&, protocol::FetchResponse&);

// offsets.cc
Task<> list_offsets(Context&, const protocol::ListOffsetsRequest&, protocol::ListOffsetsResponse&);
Task<> offset_for_leader_epoch(Context&, const protocol::OffsetForLeaderEpochRequest&,
                               protocol::OffsetForLeaderEpochResponse&);
Task<> delete_records(Context&, const protocol::DeleteRecordsRequest&, protocol::DeleteRecordsResponse&);

// cluster.cc
void api_versions(Context&, const protocol::ApiVersionsRequest&, protocol::ApiVersionsResponse&);
void describe_cluster(Context&, const protocol::DescribeClusterRequest&, protocol::DescribeClusterResponse&);

// metadata.cc
Task<> metadata(Context&, const protocol::MetadataRequest&, protocol::MetadataResponse&);
void describe_topic_partitions(Context&, const protocol::DescribeTopicPartitionsRequest&,
                               protocol::DescribeTopicPartitionsResponse&);

// topics.cc
Task<> create_topics(Context&, const protocol::CreateTopicsRequest&, protocol::CreateTopicsResponse&);
Task<> delete_topics(Context&, const protocol::DeleteTopicsRequest&, protocol::DeleteTopicsResponse&);
Task<> create_partitions(Context&, const protocol::CreatePartitionsRequest&,
                         protocol::CreatePartitionsResponse&);

// configs.cc
void describe_configs(Context&, const protocol::DescribeConfigsRequest&, protocol::DescribeConfigsResponse&);
Task<> alter_configs(Context&, const protocol::AlterConfigsRequest&, protocol::AlterConfigsResponse&);
Task<> incremental_alter_configs(Context&, const protocol::IncrementalAlterConfigsRequest&,
                                 protocol::IncrementalAlterConfigsResponse&);
void list_config_resources(Context&, const protocol::ListConfigResourcesRequest&,
                           protocol::ListConfigResourcesResponse&);

// producers.cc
Task<> init_producer_id(Context&, const protocol::InitProducerIdRequest&, protocol::InitProducerIdResponse&);
Task<> describe_producers(Context&, const protocol::DescribeProducersRequest&,
                          protocol::DescribeProducersResponse&);

// log_dirs.cc
Task<> describe_log_dirs(Context&, const protocol::DescribeLogDirsRequest&,
                         protocol::DescribeLogDirsResponse&);

// find_coordinator.cc, group_membership.cc
Task<> find_coordinator(Context&, const protocol::FindCoordinatorRequest&,
                        protocol::FindCoordinatorResponse&);
Task<> join_group(Context&, const protocol::JoinGroupRequest&, protocol::JoinGroupResponse&);
Task<> sync_group(Context&, const protocol::SyncGroupRequest&, protocol::SyncGroupResponse&);
Task<> heartbeat(Context&, const protocol::HeartbeatRequest&, protocol::HeartbeatResponse&);
Task<> leave_group(Context&, const protocol::LeaveGroupRequest&, protocol::LeaveGroupResponse&);

// group_consumer.cc
Task<> consumer_group_heartbeat(Context&, const protocol::ConsumerGroupHeartbeatRequest&,
                                protocol::ConsumerGroupHeartbeatResponse&);
Task<> consumer_group_describe(Context&, const protocol::ConsumerGroupDescribeRequest&,
                               protocol::ConsumerGroupDescribeResponse&);

// group_offsets.cc
Task<> offset_commit(Context&, const protocol::OffsetCommitRequest&, protocol::OffsetCommitResponse&);
Task<> offset_fetch(Context&, const protocol::OffsetFetchRequest&, protocol::OffsetFetchResponse&);
Task<> offset_delete(Context&, const protocol::OffsetDeleteRequest&, protocol::OffsetDeleteResponse&);

// group_admin.cc
Task<> list_groups(Context&, const protocol::ListGroupsRequest&, protocol::ListGroupsResponse&);
Task<> describe_groups(Context&, const protocol::DescribeGroupsRequest&, protocol::DescribeGroupsResponse&);
Task<> delete_groups(Context&, const protocol::DeleteGroupsRequest&, protocol::DeleteGroupsResponse&);

}  // namespace millrace::api
