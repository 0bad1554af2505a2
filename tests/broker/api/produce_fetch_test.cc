#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <thread>

#include "protocol/messages/create_topics.h"
#include "protocol/messages/fetch.h"
#include "protocol/messages/init_producer_id.h"
#include "protocol/messages/metadata.h"
#include "protocol/messages/produce.h"
#include "tests/broker/api/test_broker.h"

using namespace millrace;
using namespace millrace::api;
using namespace millrace::protocol;

namespace {

Uuid create_topic(TestClient& client, const std::string& name, int32_t partitions = 1) {
  std::vector<CreateTopicsRequest::Topic> topics(1);
  topics[0].name = name;
  topics[0].num_partitions = partitions;
  topics[0].replication_factor = 1;
  CreateTopicsRequest request;
  request.topics = topics;
  const auto response = client.call<CreateTopicsResponse>(request, 7);
  REQUIRE(response.topics.size() == 1);
  REQUIRE(response.topics[0].error_code == ErrorCode::kNone);
  return response.topics[0].topic_id;
}

// A request for one partition, and the memory that it refers to.
struct OneProduce {
  std::vector<ProduceRequest::Topic> topics{1};
  std::vector<ProduceRequest::Topic::Partition> partitions{1};
  ProduceRequest request;

  OneProduce(std::string_view topic, const Uuid& id, Bytes records, int16_t acks = -1,
             int32_t partition = 0) {
    partitions[0].index = partition;
    partitions[0].records = Records::of(records);
    topics[0].name = topic;
    topics[0].topic_id = id;
    topics[0].partition_data = partitions;
    request.acks = acks;
    request.timeout_ms = 10'000;
    request.topic_data = topics;
  }
};

struct OneFetch {
  std::vector<FetchRequest::Topic> topics{1};
  std::vector<FetchRequest::Topic::Partition> partitions{1};
  FetchRequest request;

  OneFetch(std::string_view topic, const Uuid& id, int64_t offset, int32_t max_wait_ms = 0) {
    partitions[0].fetch_offset = offset;
    partitions[0].partition_max_bytes = 1 << 20;
    topics[0].topic = topic;
    topics[0].topic_id = id;
    topics[0].partitions = partitions;
    request.max_wait_ms = max_wait_ms;
    request.min_bytes = 1;
    request.topics = topics;
  }
};

ProduceResponse::Topic::Partition only(const ProduceResponse& response) {
  REQUIRE(response.responses.size() == 1);
  REQUIRE(response.responses[0].partition_responses.size() == 1);
  return response.responses[0].partition_responses[0];
}

FetchResponse::Topic::Partition only(const FetchResponse& response) {
  REQUIRE(response.responses.size() == 1);
  REQUIRE(response.responses[0].partitions.size() == 1);
  return response.responses[0].partitions[0];
}

std::vector<std::string> values_in(const FetchResponse::Topic::Partition& partition) {
  std::vector<std::string> values;
  REQUIRE(partition.records.bytes);
  const auto read = for_each_batch(*partition.records.bytes, [&](const BatchHeader&, Bytes batch) {
    const auto records = for_each_record(batch, 1 << 20, [&](const RecordView& record) {
      values.emplace_back(as_text(record.value.value()));
      return true;
    });
    REQUIRE(records);
    return true;
  });
  REQUIRE(read);
  return values;
}

}  // namespace

TEST_CASE("what is produced in any version is fetched in any version", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  const Uuid id = create_topic(client, "t");
  std::vector<std::string> produced;
  for (int16_t version = 3; version <= 13; ++version) {
    const std::string value = "version " + std::to_string(version);
    const Buffer batch = batch_of({value});
    const auto answer = only(client.call<ProduceResponse>(OneProduce("t", id, batch).request, version));
    INFO("Produce version " << version);
    CHECK(answer.error_code == ErrorCode::kNone);
    CHECK(answer.base_offset == static_cast<int64_t>(produced.size()));
    produced.push_back(value);
  }
  for (int16_t version = 4; version <= 18; ++version) {
    INFO("Fetch version " << version);
    const auto answer = only(client.call<FetchResponse>(OneFetch("t", id, 0).request, version));
    CHECK(answer.error_code == ErrorCode::kNone);
    CHECK(answer.high_watermark == static_cast<int64_t>(produced.size()));
    CHECK(values_in(answer) == produced);
  }
}

TEST_CASE("records outlive a restart, and so does the topic's id", "[api]") {
  TestBroker broker;
  Uuid id;
  {
    TestClient client(broker.port());
    id = create_topic(client, "t", 3);
    for (int32_t partition = 0; partition < 3; ++partition) {
      const Buffer batch = batch_of({"p" + std::to_string(partition)});
      const auto answer =
          only(client.call<ProduceResponse>(OneProduce("t", id, batch, -1, partition).request, 13));
      CHECK(answer.error_code == ErrorCode::kNone);
    }
  }
  broker.restart();
  TestClient client(broker.port());
  for (int32_t partition = 0; partition < 3; ++partition) {
    OneFetch fetch("t", id, 0);
    fetch.partitions[0].partition = partition;
    CHECK(values_in(only(client.call<FetchResponse>(fetch.request, 13))) ==
          std::vector<std::string>{"p" + std::to_string(partition)});
  }
}

TEST_CASE("a waiting fetch is answered by the next record", "[api]") {
  TestBroker broker;
  TestClient consumer(broker.port());
  TestClient producer(broker.port());
  const Uuid id = create_topic(producer, "t");
  // Longer than the test may take: only the record can end the wait.
  consumer.send(OneFetch("t", id, 0, 25'000).request, 13);
  const Buffer batch = batch_of({"news"});
  CHECK(only(producer.call<ProduceResponse>(OneProduce("t", id, batch).request, 13)).error_code ==
        ErrorCode::kNone);
  const auto answer = only(consumer.receive<FetchResponse>(ApiKey::kFetch, 13));
  CHECK(values_in(answer) == std::vector<std::string>{"news"});
}

TEST_CASE("a fetch with nothing to read comes back empty at its deadline", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  const Uuid id = create_topic(client, "t");
  const auto answer = only(client.call<FetchResponse>(OneFetch("t", id, 0, 20).request, 13));
  CHECK(answer.error_code == ErrorCode::kNone);
  REQUIRE(answer.records.bytes);
  CHECK(answer.records.bytes->empty());
}

TEST_CASE("pipelined produce requests are appended and answered in order", "[api]") {
  TestBroker broker(TestBroker::Settings{{"shards", "2"}});
  TestClient client(broker.port());
  const Uuid id = create_topic(client, "t", 4);
  constexpr int kRequests = 200;
  const Buffer batch = batch_of({"x"});
  for (int i = 0; i < kRequests; ++i) {
    // Two partitions a request, so that requests meet on several shards.
    OneProduce produce("t", id, batch);
    produce.partitions.resize(2);
    produce.partitions[0].index = i % 4;
    produce.partitions[1].index = (i + 1) % 4;
    produce.partitions[1].records = Records::of(batch);
    produce.topics[0].partition_data = produce.partitions;
    client.send(produce.request, 13);
  }
  std::vector<int64_t> next(4, 0);
  for (int i = 0; i < kRequests; ++i) {
    const auto response = client.receive<ProduceResponse>(ApiKey::kProduce, 13);
    for (const auto& answer : response.responses[0].partition_responses) {
      CHECK(answer.error_code == ErrorCode::kNone);
      CHECK(answer.base_offset == next[static_cast<size_t>(answer.index)]++);
    }
  }
}

TEST_CASE("a repeated idempotent batch is answered with the first one's offset, also after a restart",
          "[api]") {
  TestBroker broker;
  Uuid id;
  BatchOptions options{.producer_epoch = 0, .base_sequence = 0};
  {
    TestClient client(broker.port());
    id = create_topic(client, "t");
    InitProducerIdRequest init;
    init.transactional_id = std::nullopt;
    const auto producer = client.call<InitProducerIdResponse>(init, 4);
    REQUIRE(producer.error_code == ErrorCode::kNone);
    options.producer_id = producer.producer_id;
  }
  const Buffer batch = batch_of({"once", "only"}, options);
  for (int round = 0; round < 3; ++round) {
    TestClient client(broker.port());
    const auto answer = only(client.call<ProduceResponse>(OneProduce("t", id, batch).request, 13));
    CHECK(answer.error_code == ErrorCode::kNone);
    CHECK(answer.base_offset == 0);
    if (round == 1) broker.restart();
  }
  TestClient client(broker.port());
  options.base_sequence = 7;
  const Buffer gap = batch_of({"too far"}, options);
  CHECK(only(client.call<ProduceResponse>(OneProduce("t", id, gap).request, 13)).error_code ==
        ErrorCode::kOutOfOrderSequenceNumber);
  CHECK(only(client.call<FetchResponse>(OneFetch("t", id, 0).request, 13)).high_watermark == 2);
}

TEST_CASE("acks=0 gets no response, and an error of it closes the connection", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  const Uuid id = create_topic(client, "t");
  const Buffer batch = batch_of({"quiet"});
  client.send(OneProduce("t", id, batch, 0).request, 13);
  // The next request's response is the next thing to come.
  const auto answer = only(client.call<ProduceResponse>(OneProduce("t", id, batch).request, 13));
  CHECK(answer.base_offset == 1);
  client.send(OneProduce("t", id, batch, 0, 99).request, 13);
  CHECK_FALSE(client.receive_frame());
}

TEST_CASE("wrong topics, partitions, acks and records have Kafka's errors", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  const Uuid id = create_topic(client, "t");
  const Buffer batch = batch_of({"x"});
  const auto error = [&](const OneProduce& produce, int16_t version) {
    return only(client.call<ProduceResponse>(produce.request, version)).error_code;
  };
  CHECK(error(OneProduce("absent", {}, batch), 9) == ErrorCode::kUnknownTopicOrPartition);
  CHECK(error(OneProduce("", Uuid::from_random(1, 2), batch), 13) == ErrorCode::kUnknownTopicId);
  CHECK(error(OneProduce("t", id, batch, -1, 7), 13) == ErrorCode::kUnknownTopicOrPartition);
  CHECK(error(OneProduce("t", id, batch, 2), 13) == ErrorCode::kInvalidRequiredAcks);
  Buffer damaged = batch;
  damaged.back() ^= std::byte{1};
  CHECK(error(OneProduce("t", id, damaged), 13) == ErrorCode::kCorruptMessage);

  const auto fetch_error = [&](const OneFetch& fetch, int16_t version) {
    return only(client.call<FetchResponse>(fetch.request, version)).error_code;
  };
  CHECK(fetch_error(OneFetch("absent", {}, 0), 12) == ErrorCode::kUnknownTopicOrPartition);
  CHECK(fetch_error(OneFetch("", Uuid::from_random(1, 2), 0), 13) == ErrorCode::kUnknownTopicId);
  CHECK(fetch_error(OneFetch("t", id, 5), 13) == ErrorCode::kOffsetOutOfRange);
  CHECK(fetch_error(OneFetch("t", id, -3), 13) == ErrorCode::kOffsetOutOfRange);
  OneFetch ahead("t", id, 0);
  ahead.partitions[0].current_leader_epoch = 9;
  CHECK(fetch_error(ahead, 13) == ErrorCode::kUnknownLeaderEpoch);
}

TEST_CASE("a fetch session answers only what changed", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  const Uuid id = create_topic(client, "t");
  OneFetch full("t", id, 0);
  full.request.session_epoch = 0;
  const auto first = client.call<FetchResponse>(full.request, 13);
  CHECK(first.session_id > 0);
  CHECK(first.responses.size() == 1);

  FetchRequest next;
  next.session_id = first.session_id;
  next.session_epoch = 1;
  next.min_bytes = 1;
  CHECK(client.call<FetchResponse>(next, 13).responses.size() == 0);

  const Buffer batch = batch_of({"x"});
  CHECK(only(client.call<ProduceResponse>(OneProduce("t", id, batch).request, 13)).base_offset == 0);
  next.session_epoch = 2;
  CHECK(values_in(only(client.call<FetchResponse>(next, 13))) == std::vector<std::string>{"x"});

  // From another connection, which may be of another shard.
  TestClient other(broker.port());
  next.session_epoch = 7;
  CHECK(other.call<FetchResponse>(next, 13).error_code == ErrorCode::kInvalidFetchSessionEpoch);
  next.session_id = first.session_id + 1000;
  CHECK(other.call<FetchResponse>(next, 13).error_code == ErrorCode::kFetchSessionIdNotFound);
}

TEST_CASE("Records of a transaction are refused: nobody could end it") {
  TestBroker broker;
  TestClient client(broker.port());
  const Uuid id = create_topic(client, "t");
  const Buffer batch =
      batch_of({"a"}, {.producer_id = 7, .producer_epoch = 0, .base_sequence = 0, .transactional = true});
  OneProduce produce("t", id, batch);
  CHECK(only(client.call<ProduceResponse>(produce.request, 9)).error_code ==
        ErrorCode::kTransactionalIdAuthorizationFailed);
  produce.request.transactional_id = "x";
  CHECK(only(client.call<ProduceResponse>(produce.request, 9)).error_code == ErrorCode::kInvalidTxnState);
  OneFetch fetch("t", id, 0);
  CHECK(only(client.call<FetchResponse>(fetch.request, 12)).high_watermark == 0);
}

TEST_CASE("A refused sequence tells where the log starts, a damaged batch doesn't") {
  TestBroker broker;
  TestClient client(broker.port());
  const Uuid id = create_topic(client, "t");
  const BatchOptions options{.producer_id = 7, .producer_epoch = 0, .base_sequence = 0};
  const Buffer first = batch_of({"a"}, options);
  REQUIRE(only(client.call<ProduceResponse>(OneProduce("t", id, first).request, 9)).error_code ==
          ErrorCode::kNone);
  BatchOptions gap = options;
  gap.base_sequence = 5;
  const Buffer later = batch_of({"b"}, gap);
  const auto refused = only(client.call<ProduceResponse>(OneProduce("t", id, later).request, 9));
  CHECK(refused.error_code == ErrorCode::kOutOfOrderSequenceNumber);
  CHECK(refused.log_start_offset == 0);
  Buffer damaged = batch_of({"c"});
  damaged.back() ^= std::byte{1};
  const auto corrupt = only(client.call<ProduceResponse>(OneProduce("t", id, damaged).request, 9));
  CHECK(corrupt.error_code == ErrorCode::kCorruptMessage);
  CHECK(corrupt.log_start_offset == -1);
}

TEST_CASE("A fetch names aborted transactions only to who asked, and a partition named twice once") {
  TestBroker broker;
  TestClient client(broker.port());
  const Uuid id = create_topic(client, "t");
  OneFetch fetch("t", id, 0);
  CHECK(!only(client.call<FetchResponse>(fetch.request, 12)).aborted_transactions);
  fetch.request.isolation_level = 1;
  CHECK(only(client.call<FetchResponse>(fetch.request, 12)).aborted_transactions);
  fetch.partitions.push_back(fetch.partitions[0]);
  fetch.topics[0].partitions = fetch.partitions;
  fetch.partitions[1].fetch_offset = 9;
  CHECK(only(client.call<FetchResponse>(fetch.request, 12)).error_code == ErrorCode::kOffsetOutOfRange);
}

TEST_CASE("A producer names its id and epoch together or not at all") {
  TestBroker broker;
  TestClient client(broker.port());
  InitProducerIdRequest request;
  request.transactional_id = std::nullopt;
  request.producer_id = 7;
  CHECK(client.call<InitProducerIdResponse>(request, 5).error_code == ErrorCode::kInvalidRequest);
  request.producer_epoch = 0;
  CHECK(client.call<InitProducerIdResponse>(request, 5).error_code == ErrorCode::kNone);
}

TEST_CASE(
    "A segment that is cut off under the broker costs a connection once, and is an error from then on") {
  TestBroker broker;
  TestClient client(broker.port());
  const Uuid id = create_topic(client, "t");
  const Buffer batch = batch_of({std::string(1000, 'v')});
  for (int i = 0; i < 3; ++i) {
    const auto answer = only(client.call<ProduceResponse>(OneProduce("t", id, batch).request, 13));
    REQUIRE(answer.error_code == ErrorCode::kNone);
  }
  const auto path = broker.directory() / "data/topics/t-0/00000000000000000000.log";
  REQUIRE(std::filesystem::file_size(path) == 3 * batch.size());
  std::filesystem::resize_file(path, 2 * batch.size());
  // The length of the answer had been sent.
  TestClient first(broker.port());
  first.send(OneFetch("t", id, 0).request, 13);
  CHECK_FALSE(first.receive_frame());
  for (int i = 0; i < 3; ++i) {
    const auto rest = only(client.call<FetchResponse>(OneFetch("t", id, 0).request, 13));
    CHECK(rest.error_code == ErrorCode::kNone);
    CHECK(values_in(rest).size() == 2);
    const auto lost = only(client.call<FetchResponse>(OneFetch("t", id, 2).request, 13));
    CHECK(lost.error_code == ErrorCode::kCorruptMessage);
  }
}
