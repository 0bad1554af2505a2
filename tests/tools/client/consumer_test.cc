#include "tools/client/consumer.h"

#include "fake_broker.h"
#include "protocol/batch_builder.h"
#include "protocol/messages/fetch.h"

using namespace millrace;
using namespace millrace::tools;
using millrace::tools::test::FakeBroker;

namespace {

struct FakePartition {
  Buffer log;
  int64_t start = 0;
  int64_t end = 0;
  int64_t damaged_at = -1;               // refused from there on
  ErrorCode failing = ErrorCode::kNone;  // every answer from `failing_at` on
  int64_t failing_at = 0;
  std::vector<AbortedTransaction> aborted;

  // Values are the offsets; timestamps as given.
  void add(std::vector<int64_t> timestamps_ms, protocol::BatchOptions options = {}) {
    options.base_offset = end;
    protocol::BatchBuilder builder(options);
    for (const int64_t timestamp_ms : timestamps_ms) {
      builder.append(std::nullopt, as_bytes(std::to_string(end++)), {}, timestamp_ms);
    }
    const Buffer batch = *builder.build();
    log.insert(log.end(), batch.begin(), batch.end());
  }
  void add_marker(int64_t producer_id, bool commit) {
    protocol::BatchOptions options{.base_offset = end,
                                   .producer_id = producer_id,
                                   .producer_epoch = 0,
                                   .transactional = true,
                                   .control = true};
    protocol::BatchBuilder builder(options);
    const std::array<std::byte, 4> key = {std::byte{0}, std::byte{0}, std::byte{0}, std::byte{commit}};
    builder.append(Bytes(key), Bytes(), {}, 1);
    ++end;
    const Buffer batch = *builder.build();
    log.insert(log.end(), batch.begin(), batch.end());
  }
  Bytes from(int64_t offset) const {
    Bytes rest = log;
    while (!rest.empty()) {
      const auto header = protocol::read_batch_header(rest);
      if (!header || header->last_offset() >= offset) break;
      rest = rest.subspan(header->size_bytes());
    }
    return rest;
  }
  Bytes readable_from(int64_t offset) const {
    const Bytes rest = from(offset);
    return failing == ErrorCode::kNone ? rest : rest.first(rest.size() - from(failing_at).size());
  }
};

struct Setup {
  std::map<int32_t, FakePartition> partitions;
  FakeBroker broker;
  std::unique_ptr<Cluster> cluster;
  std::vector<std::string> notes;
  Result<void> failure;

  explicit Setup(int32_t count) {
    broker.serve_topic(count);
    broker.on(ApiKey::kFetch, 11, [this](int16_t version, Bytes body) { return answer(version, body); });
  }

  std::optional<Buffer> answer(int16_t version, Bytes body) {
    Arena arena;
    const auto request = protocol::decode<protocol::FetchRequest>(body, version, arena);
    if (!request) return std::nullopt;
    std::vector<protocol::FetchResponse::Topic::Partition> answers;
    std::vector<std::vector<protocol::FetchResponse::Topic::Partition::AbortedTransaction>> aborted(16);
    for (const auto& asked : request->topics[0].partitions) {
      const FakePartition& partition = partitions[asked.partition];
      auto& answer = answers.emplace_back();
      answer.partition_index = asked.partition;
      answer.log_start_offset = partition.start;
      answer.high_watermark = answer.last_stable_offset = partition.end;
      for (const AbortedTransaction& from : partition.aborted)
        aborted[answers.size()].push_back({from.producer_id, from.first_offset});
      answer.aborted_transactions = Array(aborted[answers.size()]);
      if (partition.damaged_at >= 0 && asked.fetch_offset >= partition.damaged_at) {
        answer.error_code = ErrorCode::kCorruptMessage;
        continue;
      }
      if (partition.failing != ErrorCode::kNone && asked.fetch_offset >= partition.failing_at) {
        answer.error_code = partition.failing;
        continue;
      }
      if (asked.fetch_offset < partition.start) {
        answer.error_code = ErrorCode::kOffsetOutOfRange;
      } else {
        answer.records = protocol::Records::of(partition.readable_from(asked.fetch_offset));
      }
    }
    std::vector<protocol::FetchResponse::Topic> topics(1);
    topics[0].topic = "t";
    topics[0].partitions = answers;
    protocol::FetchResponse response;
    response.responses = topics;
    return FakeBroker::encoded(response, version);
  }

  // Values read, each as "partition:offset".
  std::vector<std::string> read(std::vector<ConsumeRange> ranges,
                                Isolation isolation = Isolation::kReadUncommitted) {
    if (!cluster) cluster = std::move(*Cluster::connect(broker.options()));
    FetchOptions options;
    options.isolation = isolation;
    Consumer consumer(*cluster, *cluster->topic("t"), options, ranges,
                      [this](const std::string& note) { notes.push_back(note); });
    std::vector<std::string> values;
    failure = {};
    while (true) {
      const Result<const ConsumedRecord*> record = consumer.next(5'000);
      if (record && *record == nullptr && consumer.finished()) return values;
      if (!record) {
        failure = std::unexpected(record.error());
        return values;
      }
      if (*record != nullptr)
        values.push_back(std::to_string((*record)->partition) + ":" + std::string(*(*record)->value));
    }
    return values;
  }
};

using Values = std::vector<std::string>;

}  // namespace

TEST_CASE("a range begins and ends within batches") {
  Setup setup(1);
  setup.partitions[0].add({1, 2, 3});
  setup.partitions[0].add({4, 5, 6}, {.compression = protocol::Compression::kLz4});
  CHECK(setup.read({{0, 1, 5}}) == Values{"0:1", "0:2", "0:3", "0:4"});
  CHECK(setup.read({{0, 4, 6}}) == Values{"0:4", "0:5"});
  CHECK(setup.read({{0, 3, 3}}).empty());
}

TEST_CASE("partitions are merged by time") {
  Setup setup(2);
  setup.partitions[0].add({10, 40});
  setup.partitions[0].add({50});
  setup.partitions[1].add({20, 30, 60});
  CHECK(setup.read({{0, 0, 3}, {1, 0, 3}}) == Values{"0:0", "1:0", "1:1", "0:1", "0:2", "1:2"});
}

TEST_CASE("aborted transactions and markers are left out") {
  Setup setup(1);
  FakePartition& partition = setup.partitions[0];
  const protocol::BatchOptions seven{
      .producer_id = 7, .producer_epoch = 0, .base_sequence = 0, .transactional = true};
  const protocol::BatchOptions eight{
      .producer_id = 8, .producer_epoch = 0, .base_sequence = 0, .transactional = true};
  partition.add({1}, seven);
  partition.add({2}, eight);
  partition.add_marker(7, false);
  partition.add({3}, seven);
  partition.add_marker(8, true);
  partition.add_marker(7, true);
  partition.add({4});
  partition.aborted = {{7, 0}};
  CHECK(setup.read({{0, 0, 7}}) == Values{"0:0", "0:1", "0:3", "0:6"});
  CHECK(setup.read({{0, 0, 7}}, Isolation::kReadCommitted) == Values{"0:1", "0:3", "0:6"});
}

TEST_CASE("records that are gone are skipped with a note") {
  Setup setup(1);
  FakePartition& partition = setup.partitions[0];
  partition.add({1, 2});
  partition.add({3, 4});
  partition.start = 2;
  CHECK(setup.read({{0, 0, 4}}) == Values{"0:2", "0:3"});
  REQUIRE(setup.notes.size() == 1);
  CHECK(setup.notes[0] == "t partition 0: offsets 0 to 1 are gone; going on at 2");
}

TEST_CASE("a damaged batch is an error that says where") {
  Setup setup(1);
  FakePartition& partition = setup.partitions[0];
  partition.add({1});
  const size_t second = partition.log.size();
  partition.add({2});
  partition.log[second + protocol::BatchHeader::kSize + 3] ^= std::byte{1};
  CHECK(setup.read({{0, 0, 2}}) == Values{"0:0"});
  REQUIRE_FALSE(setup.failure);
  CHECK(setup.failure.error().code == ErrorCode::kCorruptMessage);
  CHECK(setup.failure.error().message.find("t partition 0, batch at offset 1") != std::string::npos);
}

TEST_CASE("known damage ends its partition with a note, the others are read on, and then it is an error") {
  Setup setup(2);
  setup.partitions[0].add({1});
  setup.partitions[0].add({2, 3});
  setup.partitions[0].damaged_at = 3;
  setup.partitions[0].end = 9;
  setup.partitions[1].add({4, 5});
  CHECK(setup.read({{0, 0, 9}, {1, 0, 2}}) == Values{"0:0", "0:1", "0:2", "1:0", "1:1"});
  REQUIRE(setup.notes.size() == 1);
  CHECK(setup.notes[0].find("t partition 0: the broker can't read the records from offset 3 on") == 0);
  CHECK(setup.notes[0].find("-o OFFSET") != std::string::npos);
  REQUIRE_FALSE(setup.failure);
  CHECK(setup.failure.error().code == ErrorCode::kCorruptMessage);
  CHECK(setup.failure.error().message.find("partition 0 ") != std::string::npos);
}

TEST_CASE("a partition whose answers fail is given up after the timeout, and the others are read") {
  Setup setup(2);
  setup.cluster = std::move(*Cluster::connect(setup.broker.options(300)));
  setup.partitions[0].add({1});
  setup.partitions[0].add({2});
  setup.partitions[0].failing = ErrorCode::kKafkaStorageError;
  setup.partitions[0].failing_at = 1;
  setup.partitions[1].add({3, 4});
  const auto began = std::chrono::steady_clock::now();
  CHECK(setup.read({{0, 0, 2}, {1, 0, 2}}) == Values{"0:0", "1:0", "1:1"});
  CHECK(std::chrono::steady_clock::now() - began >= std::chrono::milliseconds(300));
  REQUIRE_FALSE(setup.failure);
  CHECK(setup.failure.error().code == ErrorCode::kKafkaStorageError);
  CHECK(setup.failure.error().message ==
        "t: partition 0 can't be read (KAFKA_STORAGE_ERROR); not all could be read");
  REQUIRE(setup.notes.size() == 1);
  CHECK(setup.notes[0].find("t partition 0: nothing could be read from offset 1 on") == 0);
}

TEST_CASE("who follows a partition whose answers fail is told after the timeout") {
  Setup setup(1);
  setup.cluster = std::move(*Cluster::connect(setup.broker.options(300)));
  setup.partitions[0].add({1});
  setup.partitions[0].failing = ErrorCode::kKafkaStorageError;
  setup.partitions[0].failing_at = 1;
  CHECK(setup.read({{0, 0, std::nullopt}}) == Values{"0:0"});
  REQUIRE_FALSE(setup.failure);
  CHECK(setup.failure.error().message == "t partition 0, offset 1: KAFKA_STORAGE_ERROR");
}

TEST_CASE("answers that fail now and then are tried again for as long as it takes") {
  Setup setup(1);
  setup.cluster = std::move(*Cluster::connect(setup.broker.options(300)));
  FakePartition& partition = setup.partitions[0];
  for (int i = 0; i < 6; ++i) partition.add({1});
  partition.failing = ErrorCode::kKafkaStorageError;
  int fetches = 0;
  setup.broker.on(ApiKey::kFetch, 11, [&](int16_t version, Bytes body) {
    // Every second one gets a batch.
    if (++fetches % 2 == 0) ++partition.failing_at;
    return setup.answer(version, body);
  });
  const auto began = std::chrono::steady_clock::now();
  CHECK(setup.read({{0, 0, 6}}) == Values{"0:0", "0:1", "0:2", "0:3", "0:4", "0:5"});
  CHECK(setup.failure);
  CHECK(std::chrono::steady_clock::now() - began > std::chrono::milliseconds(300));
}

TEST_CASE("a partition that was given up and taken again is read from where it was taken") {
  Setup setup(1);
  setup.partitions[0].add({1, 2, 3, 4});
  setup.broker.on(ApiKey::kFetch, 11, [&](int16_t version, Bytes body) {
    Arena arena;
    const auto request = protocol::decode<protocol::FetchRequest>(body, version, arena);
    // Answers when the partition is no longer read from there.
    if (request && request->topics[0].partitions[0].fetch_offset == 4)
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    return setup.answer(version, body);
  });
  setup.cluster = std::move(*Cluster::connect(setup.broker.options()));
  Consumer consumer(*setup.cluster, *setup.cluster->topic("t"), {}, {}, [](const std::string&) {});
  CHECK(consumer.finished());
  consumer.add({0, 0, std::nullopt});
  const auto next = [&](int64_t wait_ms) {
    const Result<const ConsumedRecord*> record = consumer.next(wait_ms);
    REQUIRE(record);
    return *record == nullptr ? "none" : std::string((*record)->value.value());
  };
  for (const char* value : {"0", "1", "2", "3"}) CHECK(next(5'000) == value);
  setup.partitions[0].add({5});
  CHECK(next(0) == "none");
  consumer.remove(0);
  CHECK(consumer.finished());
  consumer.add({0, 1, std::nullopt});
  for (const char* value : {"1", "2", "3", "4"}) CHECK(next(5'000) == value);
  CHECK(consumer.position(0) == 5);
}
