#include "protocol/messages/delete_records.h"
#include "protocol/messages/list_offsets.h"
#include "protocol/messages/offset_for_leader_epoch.h"
#include "tests/broker/api/requests.h"

using namespace millrace;
using namespace millrace::api;
using namespace millrace::protocol;

namespace {

constexpr int64_t kLatest = -1;
constexpr int64_t kEarliest = -2;
constexpr int64_t kMaxTimestamp = -3;

struct Asked {
  std::string_view topic;
  int64_t timestamp;
  int32_t partition = 0;
  int32_t current_leader_epoch = -1;
};

ListOffsetsResponse::Topic::Partition list_offset(TestClient& client, Asked asked, int16_t version,
                                                  int8_t isolation_level = 0) {
  std::vector<ListOffsetsRequest::Topic> topics(1);
  std::vector<ListOffsetsRequest::Topic::Partition> partitions(1);
  partitions[0].partition_index = asked.partition;
  partitions[0].timestamp = asked.timestamp;
  partitions[0].current_leader_epoch = asked.current_leader_epoch;
  topics[0].name = asked.topic;
  topics[0].partitions = partitions;
  ListOffsetsRequest request;
  request.replica_id = -1;
  request.isolation_level = version >= 2 ? isolation_level : int8_t{0};
  request.topics = topics;
  const auto response = client.call<ListOffsetsResponse>(request, version);
  REQUIRE(response.topics.size() == 1);
  CHECK(response.topics[0].name == asked.topic);
  REQUIRE(response.topics[0].partitions.size() == 1);
  CHECK(response.topics[0].partitions[0].partition_index == asked.partition);
  return response.topics[0].partitions[0];
}

OffsetForLeaderEpochResponse::Topic::Partition epoch_end(TestClient& client, std::string_view topic,
                                                         int32_t partition, int32_t current_epoch,
                                                         int32_t epoch, int16_t version) {
  std::vector<OffsetForLeaderEpochRequest::Topic> topics(1);
  std::vector<OffsetForLeaderEpochRequest::Topic::Partition> partitions(1);
  partitions[0].partition = partition;
  partitions[0].current_leader_epoch = current_epoch;
  partitions[0].leader_epoch = epoch;
  topics[0].topic = topic;
  topics[0].partitions = partitions;
  OffsetForLeaderEpochRequest request;
  request.topics = topics;
  const auto response = client.call<OffsetForLeaderEpochResponse>(request, version);
  REQUIRE(response.topics.size() == 1);
  REQUIRE(response.topics[0].partitions.size() == 1);
  return response.topics[0].partitions[0];
}

DeleteRecordsResponse::Topic::Partition delete_before(TestClient& client, std::string_view topic,
                                                      int64_t offset, int16_t version,
                                                      int32_t partition = 0) {
  std::vector<DeleteRecordsRequest::Topic> topics(1);
  std::vector<DeleteRecordsRequest::Topic::Partition> partitions(1);
  partitions[0].partition_index = partition;
  partitions[0].offset = offset;
  topics[0].name = topic;
  topics[0].partitions = partitions;
  DeleteRecordsRequest request;
  request.topics = topics;
  request.timeout_ms = 10'000;
  const auto response = client.call<DeleteRecordsResponse>(request, version);
  REQUIRE(response.topics.size() == 1);
  REQUIRE(response.topics[0].partitions.size() == 1);
  return response.topics[0].partitions[0];
}

}  // namespace

TEST_CASE("ListOffsets finds start, end and times in every version", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  create_topic(client, "t");
  // The largest timestamp isn't the last record's.
  produce(client, "t", 0, batch_at({1'000, 3'000}));
  produce(client, "t", 0, batch_at({2'000, 2'500}));
  for (int16_t version = 1; version <= 11; ++version) {
    INFO("version " << version);
    const int32_t epoch = version >= 4 ? 0 : -1;
    const auto check = [&](int64_t wanted, int64_t offset, int64_t timestamp, int32_t leader_epoch) {
      INFO("timestamp " << wanted);
      for (const int8_t isolation_level : {0, 1}) {
        const auto answer = list_offset(client, {"t", wanted}, version, isolation_level);
        CHECK(answer.error_code == ErrorCode::kNone);
        CHECK(answer.offset == offset);
        CHECK(answer.timestamp == timestamp);
        CHECK(answer.leader_epoch == leader_epoch);
      }
    };
    check(kLatest, 4, -1, epoch);
    check(kEarliest, 0, -1, epoch);
    check(0, 0, 1'000, epoch);
    check(1'000, 0, 1'000, epoch);
    check(1'001, 1, 3'000, epoch);
    check(3'000, 1, 3'000, epoch);
    check(3'001, -1, -1, -1);
  }
}

TEST_CASE("ListOffsets knows each special timestamp from its version on", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  create_topic(client, "t");
  produce(client, "t", 0, batch_at({1'000, 3'000, 2'000}));
  struct Special {
    int64_t timestamp;
    int16_t since;
    int64_t offset;
    int64_t found_timestamp;
  };
  for (const Special special :
       {Special{kMaxTimestamp, 7, 1, 3'000}, {-4, 8, 0, -1}, {-5, 9, -1, -1}, {-6, 11, -1, -1}}) {
    INFO("timestamp " << special.timestamp);
    const auto before =
        list_offset(client, {"t", special.timestamp}, static_cast<int16_t>(special.since - 1));
    CHECK(before.error_code == ErrorCode::kUnsupportedVersion);
    CHECK(before.offset == -1);
    for (int16_t version = special.since; version <= 11; ++version) {
      const auto answer = list_offset(client, {"t", special.timestamp}, version);
      CHECK(answer.error_code == ErrorCode::kNone);
      CHECK(answer.offset == special.offset);
      CHECK(answer.timestamp == special.found_timestamp);
    }
  }
  CHECK(list_offset(client, {"t", -7}, 11).error_code == ErrorCode::kUnsupportedVersion);
}

TEST_CASE("ListOffsets of an empty topic, and of deleted records", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  create_topic(client, "t", 2);
  CHECK(list_offset(client, {"t", kLatest}, 11).offset == 0);
  CHECK(list_offset(client, {"t", kEarliest}, 11).offset == 0);
  CHECK(list_offset(client, {"t", kMaxTimestamp}, 11).offset == -1);
  CHECK(list_offset(client, {"t", 0}, 11).offset == -1);
  produce(client, "t", 1, batch_at({1'000, 2'000, 3'000}));
  REQUIRE(delete_before(client, "t", 2, 2, 1).error_code == ErrorCode::kNone);
  CHECK(list_offset(client, {"t", kEarliest, 1}, 11).offset == 2);
  CHECK(list_offset(client, {"t", 0, 1}, 11).offset == 2);
  CHECK(list_offset(client, {"t", kLatest, 1}, 11).offset == 3);
  CHECK(list_offset(client, {"t", kLatest, 0}, 11).offset == 0);
}

TEST_CASE("ListOffsets refuses what isn't there, what is fenced and what is named twice", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  create_topic(client, "t");
  CHECK(list_offset(client, {"absent", kLatest}, 11).error_code == ErrorCode::kUnknownTopicOrPartition);
  CHECK(list_offset(client, {"t", kLatest, 1}, 11).error_code == ErrorCode::kUnknownTopicOrPartition);
  CHECK(list_offset(client, {"t", kLatest, -1}, 11).error_code == ErrorCode::kUnknownTopicOrPartition);
  CHECK(list_offset(client, {"t", kLatest, 0, 0}, 11).error_code == ErrorCode::kNone);
  CHECK(list_offset(client, {"t", kLatest, 0, 1}, 11).error_code == ErrorCode::kUnknownLeaderEpoch);

  std::vector<ListOffsetsRequest::Topic> topics(1);
  std::vector<ListOffsetsRequest::Topic::Partition> partitions(2);
  for (auto& partition : partitions) partition.timestamp = kLatest;
  topics[0].name = "t";
  topics[0].partitions = partitions;
  ListOffsetsRequest request;
  request.replica_id = -1;
  request.topics = topics;
  const auto response = client.call<ListOffsetsResponse>(request, 11);
  REQUIRE(response.topics[0].partitions.size() == 2);
  for (const auto& answer : response.topics[0].partitions) {
    CHECK(answer.error_code == ErrorCode::kInvalidRequest);
    CHECK(answer.offset == -1);
  }
}

TEST_CASE("OffsetForLeaderEpoch tells where an epoch ended", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  create_topic(client, "t", 2);
  produce(client, "t", 1, batch_at({1, 2, 3}));
  for (int16_t version = 2; version <= 4; ++version) {
    INFO("version " << version);
    const auto known = epoch_end(client, "t", 1, 0, 0, version);
    CHECK(known.error_code == ErrorCode::kNone);
    CHECK(known.partition == 1);
    CHECK(known.leader_epoch == 0);
    CHECK(known.end_offset == 3);
    const auto later = epoch_end(client, "t", 1, -1, 1, version);
    CHECK(later.error_code == ErrorCode::kNone);
    CHECK(later.leader_epoch == -1);
    CHECK(later.end_offset == -1);
    CHECK(epoch_end(client, "t", 0, -1, 0, version).end_offset == 0);
    CHECK(epoch_end(client, "t", 1, 3, 0, version).error_code == ErrorCode::kUnknownLeaderEpoch);
    CHECK(epoch_end(client, "t", 2, -1, 0, version).error_code == ErrorCode::kUnknownTopicOrPartition);
    CHECK(epoch_end(client, "absent", 0, -1, 0, version).error_code == ErrorCode::kUnknownTopicOrPartition);
  }
}

TEST_CASE("DeleteRecords moves the start of the log, never beyond its end, and a restart keeps it", "[api]") {
  TestBroker broker;
  {
    TestClient client(broker.port());
    create_topic(client, "t");
    produce(client, "t", 0, batch_at({1, 2, 3, 4, 5}));
    for (int16_t version = 0; version <= 2; ++version) {
      INFO("version " << version);
      const auto answer = delete_before(client, "t", version + 1, version);
      CHECK(answer.error_code == ErrorCode::kNone);
      CHECK(answer.low_watermark == version + 1);
    }
    const auto beyond = delete_before(client, "t", 6, 2);
    CHECK(beyond.error_code == ErrorCode::kOffsetOutOfRange);
    CHECK(beyond.low_watermark == -1);
    CHECK(delete_before(client, "t", -2, 2).error_code == ErrorCode::kOffsetOutOfRange);
    CHECK(delete_before(client, "t", 1, 2).low_watermark == 3);
    CHECK(delete_before(client, "t", 0, 2, 4).error_code == ErrorCode::kUnknownTopicOrPartition);
    CHECK(delete_before(client, "absent", 0, 2).error_code == ErrorCode::kUnknownTopicOrPartition);
  }
  broker.restart();
  TestClient client(broker.port());
  CHECK(list_offset(client, {"t", kEarliest}, 11).offset == 3);
  CHECK(delete_before(client, "t", -1, 2).low_watermark == 5);
  CHECK(list_offset(client, {"t", kEarliest}, 11).offset == 5);
  CHECK(produce(client, "t", 0, batch_at({6})) == 5);
}
