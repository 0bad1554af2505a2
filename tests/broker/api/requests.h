// What the tests of every API need first: a topic, records in it, a group's coordinator.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "protocol/messages/create_topics.h"
#include "protocol/messages/find_coordinator.h"
#include "protocol/messages/heartbeat.h"
#include "protocol/messages/produce.h"
#include "tests/broker/api/test_broker.h"

namespace millrace::api {

inline Uuid create_topic(TestClient& client, std::string_view name, int32_t partitions = 1) {
  std::vector<protocol::CreateTopicsRequest::Topic> topics(1);
  topics[0].name = name;
  topics[0].num_partitions = partitions;
  topics[0].replication_factor = 1;
  protocol::CreateTopicsRequest request;
  request.topics = topics;
  const auto response = client.call<protocol::CreateTopicsResponse>(request, 7);
  REQUIRE(response.topics.size() == 1);
  REQUIRE(response.topics[0].error_code == ErrorCode::kNone);
  return response.topics[0].topic_id;
}

inline protocol::ProduceResponse::Topic::Partition try_produce(TestClient& client, std::string_view topic,
                                                               int32_t partition, const Buffer& batch) {
  std::vector<protocol::ProduceRequest::Topic> topics(1);
  std::vector<protocol::ProduceRequest::Topic::Partition> partitions(1);
  partitions[0].index = partition;
  partitions[0].records = protocol::Records::of(batch);
  topics[0].name = topic;
  topics[0].partition_data = partitions;
  protocol::ProduceRequest request;
  request.acks = -1;
  request.timeout_ms = 10'000;
  request.topic_data = topics;
  const auto response = client.call<protocol::ProduceResponse>(request, 12);
  REQUIRE(response.responses.size() == 1);
  REQUIRE(response.responses[0].partition_responses.size() == 1);
  return response.responses[0].partition_responses[0];
}

// Appends the batch; returns the offset of its first record.
inline int64_t produce(TestClient& client, std::string_view topic, int32_t partition, const Buffer& batch) {
  const auto answer = try_produce(client, topic, partition, batch);
  REQUIRE(answer.error_code == ErrorCode::kNone);
  return answer.base_offset;
}

// A batch of one record for each timestamp.
inline Buffer batch_at(const std::vector<int64_t>& timestamps_ms) {
  protocol::BatchBuilder builder{protocol::BatchOptions()};
  for (const int64_t timestamp_ms : timestamps_ms)
    builder.append(std::nullopt, as_bytes("value"), {}, timestamp_ms);
  auto batch = builder.build();
  REQUIRE(batch);
  return std::move(*batch);
}

// Until its coordinator has read its log.
inline void find(TestClient& client, std::string_view group) {
  protocol::FindCoordinatorRequest request;
  request.key = group;
  REQUIRE(client.call<protocol::FindCoordinatorResponse>(request, 3).error_code == ErrorCode::kNone);
  protocol::HeartbeatRequest heartbeat;
  heartbeat.group_id = group;
  heartbeat.member_id = "nobody";
  for (int i = 0; i < 1000; ++i) {
    if (client.call<protocol::HeartbeatResponse>(heartbeat, 4).error_code == ErrorCode::kUnknownMemberId)
      return;
  }
  FAIL("the coordinator of " << group << " doesn't load");
}

}  // namespace millrace::api
