#include <set>

#include "protocol/messages/describe_producers.h"
#include "protocol/messages/init_producer_id.h"
#include "tests/broker/api/requests.h"

using namespace millrace;
using namespace millrace::api;
using namespace millrace::protocol;

namespace {

int64_t new_producer_id(TestClient& client, int16_t version) {
  InitProducerIdRequest request;
  request.transactional_id = std::nullopt;
  const auto response = client.call<InitProducerIdResponse>(request, version);
  REQUIRE(response.error_code == ErrorCode::kNone);
  CHECK(response.producer_epoch == 0);
  return response.producer_id;
}

DescribeProducersResponse::Topic::Partition describe(TestClient& client, std::string_view topic,
                                                     int32_t partition) {
  std::vector<int32_t> partitions{partition};
  std::vector<DescribeProducersRequest::Topic> topics(1);
  topics[0].name = topic;
  topics[0].partition_indexes = partitions;
  DescribeProducersRequest request;
  request.topics = topics;
  const auto response = client.call<DescribeProducersResponse>(request, 0);
  REQUIRE(response.topics.size() == 1);
  CHECK(response.topics[0].name == topic);
  REQUIRE(response.topics[0].partitions.size() == 1);
  CHECK(response.topics[0].partitions[0].partition_index == partition);
  return response.topics[0].partitions[0];
}

}  // namespace

TEST_CASE("InitProducerId never gives an id twice: not on other connections, not after a restart", "[api]") {
  TestBroker broker(TestBroker::Settings{{"shards", "2"}});
  std::set<int64_t> ids;
  int given = 0;
  for (int round = 0; round < 2; ++round) {
    // More connections than shards, so that every shard gives ids.
    for (int connection = 0; connection < 6; ++connection) {
      TestClient client(broker.port());
      for (int16_t version = 0; version <= 5; ++version) {
        ids.insert(new_producer_id(client, version));
        ++given;
      }
    }
    if (round == 0) broker.restart();
  }
  CHECK(ids.size() == static_cast<size_t>(given));
  CHECK(*ids.begin() >= 0);
}

TEST_CASE("InitProducerId gives more ids than a block has", "[api]") {
  TestBroker broker(TestBroker::Settings{{"shards", "1"}});
  TestClient client(broker.port());
  constexpr int kIds = 1'100;
  InitProducerIdRequest request;
  request.transactional_id = std::nullopt;
  for (int i = 0; i < kIds; ++i) client.send(request, 4);
  std::set<int64_t> ids;
  for (int i = 0; i < kIds; ++i) {
    const auto response = client.receive<InitProducerIdResponse>(ApiKey::kInitProducerId, 4);
    REQUIRE(response.error_code == ErrorCode::kNone);
    ids.insert(response.producer_id);
  }
  CHECK(ids.size() == kIds);
}

TEST_CASE("InitProducerId refuses transactions", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  InitProducerIdRequest request;
  request.transaction_timeout_ms = 60'000;
  for (const auto& [id, error] :
       {std::pair{"", ErrorCode::kInvalidRequest}, std::pair{"payments", ErrorCode::kUnsupportedVersion}}) {
    request.transactional_id = id;
    const auto response = client.call<InitProducerIdResponse>(request, 5);
    CHECK(response.error_code == error);
    CHECK(response.producer_id == -1);
    CHECK(response.producer_epoch == -1);
  }
}

TEST_CASE("DescribeProducers tells of idempotent producers, by partition, also after a restart", "[api]") {
  TestBroker broker;
  {
    TestClient client(broker.port());
    create_topic(client, "t", 2);
    CHECK(describe(client, "t", 0).active_producers.size() == 0);
    produce(client, "t", 0,
            batch_of({"a", "b", "c"}, {.producer_id = 71, .producer_epoch = 3, .base_sequence = 0}));
    produce(client, "t", 0, batch_of({"d"}, {.producer_id = 72, .producer_epoch = 0, .base_sequence = 0}));
    produce(client, "t", 0, batch_of({"of nobody"}));
  }
  for (int round = 0; round < 2; ++round) {
    INFO("round " << round);
    TestClient client(broker.port());
    CHECK(describe(client, "t", 1).active_producers.size() == 0);
    const auto answer = describe(client, "t", 0);
    CHECK(answer.error_code == ErrorCode::kNone);
    REQUIRE(answer.active_producers.size() == 2);
    std::set<int64_t> seen;
    for (const auto& producer : answer.active_producers) {
      seen.insert(producer.producer_id);
      CHECK(producer.producer_epoch == (producer.producer_id == 71 ? 3 : 0));
      CHECK(producer.last_sequence == (producer.producer_id == 71 ? 2 : 0));
      CHECK(producer.last_timestamp == kTimestampMs);
      CHECK(producer.current_txn_start_offset == -1);
    }
    CHECK(seen == std::set<int64_t>{71, 72});
    if (round == 0) broker.restart();
  }
}

TEST_CASE("DescribeProducers refuses what isn't there", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  create_topic(client, "t");
  CHECK(describe(client, "t", 1).error_code == ErrorCode::kUnknownTopicOrPartition);
  CHECK(describe(client, "t", -1).error_code == ErrorCode::kUnknownTopicOrPartition);
  CHECK(describe(client, "absent", 0).error_code == ErrorCode::kUnknownTopicOrPartition);
  CHECK(describe(client, "not a name", 0).error_code == ErrorCode::kInvalidTopicException);
}
