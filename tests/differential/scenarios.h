// The scripts: each asks both brokers a family of questions, in all the versions that both serve.
#pragma once

#include "tests/differential/comparison.h"

namespace millrace::differential {

// ApiVersions, DescribeCluster, DescribeLogDirs, ListConfigResources.
void compare_cluster(Comparison& comparison);
// Metadata and DescribeTopicPartitions, with automatic creation.
void compare_metadata(Comparison& comparison);
// CreateTopics, DeleteTopics, CreatePartitions.
void compare_topics(Comparison& comparison);
// DescribeConfigs, AlterConfigs, IncrementalAlterConfigs.
void compare_configs(Comparison& comparison);
// Produce, and what it left in the log.
void compare_produce(Comparison& comparison);
// Idempotent producers: InitProducerId, sequences, DescribeProducers.
void compare_producers(Comparison& comparison);
// Fetch at its edges, and its sessions.
void compare_fetch(Comparison& comparison);
// ListOffsets, DeleteRecords, OffsetForLeaderEpoch.
void compare_offsets(Comparison& comparison);
// OffsetCommit, OffsetFetch, OffsetDelete; listing, describing and deleting groups; and what members of both
// protocols are refused.
void compare_groups(Comparison& comparison);

}  // namespace millrace::differential
