#include "tools/client/producer.h"

#include "fake_broker.h"
#include "protocol/messages/init_producer_id.h"
#include "protocol/messages/produce.h"
#include "protocol/record_batch.h"

using namespace millrace;
using namespace millrace::tools;
using millrace::tools::test::FakeBroker;

namespace {

// What the broker was sent, and what it says to each in turn; kNone once the list is used up.
struct ProduceLog {
  std::vector<protocol::BatchHeader> batches;
  std::vector<ErrorCode> answers;
  // Requests after which the connection is closed instead.
  std::vector<size_t> drops;

  std::optional<Buffer> answer(int16_t version, Bytes body) {
    Arena arena;
    const auto request = protocol::decode<protocol::ProduceRequest>(body, version, arena);
    if (!request) return std::nullopt;
    std::vector<protocol::ProduceResponse::Topic::Partition> partitions;
    const size_t number = requests++;
    for (const auto& partition : request->topic_data[0].partition_data) {
      batches.push_back(*protocol::read_batch_header(*partition.records.bytes));
      const bool sound = protocol::crc_matches(*partition.records.bytes);
      auto& answer = partitions.emplace_back();
      answer.index = partition.index;
      answer.error_code = !sound                    ? ErrorCode::kCorruptMessage
                          : number < answers.size() ? answers[number]
                                                    : ErrorCode::kNone;
      answer.base_offset = next_offset;
      if (answer.error_code == ErrorCode::kNone) next_offset += batches.back().record_count;
    }
    if (std::find(drops.begin(), drops.end(), number) != drops.end()) return std::nullopt;
    if (request->acks == 0) return Buffer();
    std::vector<protocol::ProduceResponse::Topic> topics(1);
    topics[0].name = "t";
    topics[0].partition_responses = partitions;
    protocol::ProduceResponse response;
    response.responses = topics;
    return FakeBroker::encoded(response, version);
  }

  size_t requests = 0;
  int64_t next_offset = 0;
};

struct Setup {
  ProduceLog log;
  int64_t next_id = 100;
  // The connection is closed where an id is asked for.
  bool no_ids = false;
  FakeBroker broker;
  std::unique_ptr<Cluster> cluster;
  std::unique_ptr<Producer> producer;
  std::vector<int64_t> delivered;
  std::vector<int64_t> failed;
  Error last_error;

  explicit Setup(ProducerOptions options, int32_t partitions = 1, int64_t timeout_ms = 20'000) {
    broker.serve_topic(partitions);
    broker.on(ApiKey::kProduce, 8, [this](int16_t version, Bytes body) { return log.answer(version, body); });
    broker.on(ApiKey::kInitProducerId, 1, [this](int16_t version, Bytes) -> std::optional<Buffer> {
      if (no_ids) return std::nullopt;
      protocol::InitProducerIdResponse answer;
      answer.producer_id = next_id++;
      return FakeBroker::encoded(answer, version);
    });
    Result<std::unique_ptr<Cluster>> connected = Cluster::connect(broker.options(timeout_ms));
    REQUIRE(connected);
    cluster = std::move(*connected);
    Result<std::unique_ptr<Producer>> made =
        Producer::create(*cluster, "t", false, options, [this](const Delivery& d) {
          auto& list = d.error.code == ErrorCode::kNone ? delivered : failed;
          list.insert(list.end(), d.ordinals.begin(), d.ordinals.end());
          if (d.error.code != ErrorCode::kNone) last_error = d.error;
        });
    REQUIRE(made);
    producer = std::move(*made);
  }

  void send(int64_t ordinal, int32_t partition = 0) {
    REQUIRE(producer->send(partition, std::nullopt, as_bytes("value"), {}, 1, ordinal));
  }
};

// One record per batch.
ProducerOptions small_batches(bool idempotent) {
  ProducerOptions options;
  options.batch_bytes = 1;
  options.idempotent = idempotent;
  return options;
}

}  // namespace

TEST_CASE("records are delivered in order, with sequences") {
  Setup setup(small_batches(true));
  for (int64_t i = 0; i < 5; ++i) setup.send(i);
  REQUIRE(setup.producer->flush());
  CHECK(setup.delivered == std::vector<int64_t>{0, 1, 2, 3, 4});
  REQUIRE(setup.log.batches.size() == 5);
  for (int32_t i = 0; i < 5; ++i) {
    CHECK(setup.log.batches[static_cast<size_t>(i)].base_sequence == i);
    CHECK(setup.log.batches[static_cast<size_t>(i)].producer_id == 100);
  }
  CHECK(setup.producer->unreported() == 0);
  CHECK(setup.producer->buffered_bytes() == 0);
}

TEST_CASE("what may succeed is sent again, the same sequence in front of the ones behind") {
  Setup setup(small_batches(true));
  setup.log.answers = {ErrorCode::kNotLeaderOrFollower, ErrorCode::kOutOfOrderSequenceNumber};
  for (int64_t i = 0; i < 4; ++i) setup.send(i);
  REQUIRE(setup.producer->flush());
  CHECK(setup.failed.empty());
  std::vector<int64_t> sorted = setup.delivered;
  std::sort(sorted.begin(), sorted.end());
  CHECK(sorted == std::vector<int64_t>{0, 1, 2, 3});
  for (const protocol::BatchHeader& batch : setup.log.batches) CHECK(batch.producer_id == 100);
}

TEST_CASE("a lost connection doesn't lose records") {
  Setup setup(small_batches(true));
  setup.log.drops = {1};
  for (int64_t i = 0; i < 3; ++i) setup.send(i);
  REQUIRE(setup.producer->flush());
  CHECK(setup.failed.empty());
  CHECK(setup.delivered.size() == 3);
}

TEST_CASE("after a lost batch the sequence starts anew under a new id") {
  Setup setup(small_batches(true));
  setup.log.answers = {ErrorCode::kMessageTooLarge};
  setup.send(0);
  REQUIRE(setup.producer->flush());
  CHECK(setup.failed == std::vector<int64_t>{0});
  CHECK(setup.last_error.code == ErrorCode::kMessageTooLarge);
  setup.send(1);
  REQUIRE(setup.producer->flush());
  CHECK(setup.delivered == std::vector<int64_t>{1});
  CHECK(setup.log.batches.back().producer_id == 101);
  CHECK(setup.log.batches.back().base_sequence == 0);
}

TEST_CASE("without idempotence a repeat doesn't overtake") {
  Setup setup(small_batches(false));
  setup.log.answers = {ErrorCode::kNone, ErrorCode::kNotLeaderOrFollower};
  for (int64_t i = 0; i < 4; ++i) setup.send(i);
  REQUIRE(setup.producer->flush());
  CHECK(setup.delivered == std::vector<int64_t>{0, 1, 2, 3});
  CHECK(setup.log.batches.size() == 5);
  CHECK(setup.log.batches[0].producer_id == -1);
}

TEST_CASE("a repeat that the broker recognises counts as delivered") {
  Setup setup(small_batches(true));
  setup.log.answers = {ErrorCode::kDuplicateSequenceNumber};
  setup.send(0);
  REQUIRE(setup.producer->flush());
  CHECK(setup.delivered == std::vector<int64_t>{0});
}

TEST_CASE("what keeps failing is given up in the end, with the broker's reason") {
  ProducerOptions options = small_batches(false);
  options.delivery_timeout_ms = 300;
  Setup setup(options);
  setup.log.answers.assign(1000, ErrorCode::kNotEnoughReplicas);
  setup.send(7);
  REQUIRE(setup.producer->flush());
  CHECK(setup.failed == std::vector<int64_t>{7});
  CHECK(setup.last_error.code == ErrorCode::kNotEnoughReplicas);
}

TEST_CASE("batches expire in time, with the reason, where no new id is to be had") {
  ProducerOptions options = small_batches(true);
  options.delivery_timeout_ms = 300;
  Setup setup(options);
  setup.log.answers = {ErrorCode::kMessageTooLarge};
  setup.send(0);
  REQUIRE(setup.producer->flush());
  setup.no_ids = true;
  const int64_t started_us = steady_us();
  for (int64_t i = 1; i < 4; ++i) setup.send(i);
  REQUIRE(setup.producer->flush());
  CHECK(setup.failed == std::vector<int64_t>{0, 1, 2, 3});
  CHECK(setup.last_error.message.find("closed the connection") != std::string::npos);
  CHECK(steady_us() - started_us < 5'000'000);
}

TEST_CASE("a flush with a limit gives up what isn't answered by then") {
  Setup setup(small_batches(true));
  setup.log.answers.assign(1000, ErrorCode::kNotEnoughReplicas);
  setup.send(0);
  const int64_t started_us = steady_us();
  REQUIRE(setup.producer->flush(300));
  CHECK(setup.failed == std::vector<int64_t>{0});
  CHECK(steady_us() - started_us < 5'000'000);
}

TEST_CASE("records fill batches, and partitions share requests") {
  Setup setup({}, 2);
  for (int64_t i = 0; i < 100; ++i) setup.send(i, static_cast<int32_t>(i % 2));
  REQUIRE(setup.producer->flush());
  CHECK(setup.delivered.size() == 100);
  CHECK(setup.log.batches.size() == 2);
  CHECK(setup.log.batches[0].record_count == 50);
}

TEST_CASE("a partition that isn't there is refused") {
  Setup setup({});
  CHECK_FALSE(setup.producer->send(1, std::nullopt, std::nullopt, {}, 1, 0));
  CHECK_FALSE(setup.producer->send(-1, std::nullopt, std::nullopt, {}, 1, 0));
}

TEST_CASE("with acks 0 a closed connection is told at the end") {
  ProducerOptions options = small_batches(false);
  options.acks = 0;
  Setup setup(options);
  setup.send(0);
  CHECK(setup.producer->flush());
  CHECK(setup.delivered == std::vector<int64_t>{0});
  setup.log.drops = {1};
  setup.send(1);
  const Result<void> flushed = setup.producer->flush();
  REQUIRE_FALSE(flushed);
  CHECK(flushed.error().code == ErrorCode::kNetworkException);
  setup.send(2);
  CHECK(setup.producer->flush());
}

TEST_CASE("with acks 0 a connection that somebody else has found closed is told, too") {
  const bool sends_more = GENERATE(false, true);
  ProducerOptions options = small_batches(false);
  options.acks = 0;
  Setup setup(options);
  setup.send(0);
  setup.no_ids = true;
  {
    const Cluster::OneTry one_try(*setup.cluster, Deadline::after_ms(20'000));
    CHECK_FALSE(setup.cluster->call_any<protocol::InitProducerIdResponse>(protocol::InitProducerIdRequest{}));
  }
  if (sends_more) setup.send(1);
  const Result<void> flushed = setup.producer->flush();
  REQUIRE_FALSE(flushed);
  CHECK(flushed.error().code == ErrorCode::kNetworkException);
  CHECK(setup.producer->flush());
}
