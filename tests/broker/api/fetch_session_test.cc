// A client with a fetch session on many partitions gets every record, in order, however fetches, produces and
// small limits fall together.
#include <numeric>
#include <random>

#include "protocol/messages/fetch.h"
#include "tests/broker/api/requests.h"

using namespace millrace;
using namespace millrace::api;
using namespace millrace::protocol;

namespace {

constexpr int kPartitions = 24;
constexpr int16_t kVersion = 13;

// As the Java client: names partitions only when their offset has moved, and asks again after each answer.
class SessionReader {
 public:
  SessionReader(uint16_t port, const Uuid& id, uint32_t seed) : client_(port), id_(id), random_(seed) {
    moved_.resize(kPartitions);
    std::iota(moved_.begin(), moved_.end(), 0);
  }

  int64_t total() const { return std::accumulate(offsets_.begin(), offsets_.end(), int64_t{0}); }
  int64_t largest_answer() const { return largest_answer_; }

  void fetch(int32_t max_wait_ms) {
    ask(max_wait_ms);
    receive();
  }

  void ask(int32_t max_wait_ms) {
    std::vector<FetchRequest::Topic::Partition> partitions(moved_.size());
    for (size_t i = 0; i < moved_.size(); ++i) {
      partitions[i].partition = moved_[i];
      partitions[i].fetch_offset = offsets_[static_cast<size_t>(moved_[i])];
      partitions[i].partition_max_bytes = random_() % 2 == 0 ? 100 : 1 << 20;
    }
    std::vector<FetchRequest::Topic> topics(1);
    topics[0].topic_id = id_;
    topics[0].partitions = partitions;
    FetchRequest request;
    request.session_id = session_id_;
    request.session_epoch = epoch_++;
    request.min_bytes = max_wait_ms <= 100 && random_() % 4 == 0 ? 300 : 1;
    request.max_bytes = random_() % 2 == 0 ? 200 : 1 << 20;
    request.max_wait_ms = max_wait_ms;
    if (!partitions.empty()) request.topics = topics;
    client_.send(request, kVersion);
  }

  void receive() {
    const auto response = client_.receive<FetchResponse>(ApiKey::kFetch, kVersion);
    REQUIRE(response.error_code == ErrorCode::kNone);
    session_id_ = response.session_id;
    REQUIRE(session_id_ > 0);
    moved_.clear();
    int64_t answered = 0;
    for (const auto& topic : response.responses) {
      for (const auto& partition : topic.partitions) {
        take(partition);
        ++answered;
      }
    }
    if (epoch_ > 2) largest_answer_ = std::max(largest_answer_, answered);
  }

 private:
  void take(const FetchResponse::Topic::Partition& partition) {
    REQUIRE(partition.error_code == ErrorCode::kNone);
    int64_t& offset = offsets_[static_cast<size_t>(partition.partition_index)];
    const int64_t before = offset;
    const auto walked = for_each_batch(*partition.records.bytes, [&](const BatchHeader& header, Bytes) {
      CHECK(header.base_offset == offset);
      offset = header.last_offset() + 1;
      return true;
    });
    REQUIRE(walked);
    if (offset != before) moved_.push_back(partition.partition_index);
  }

  TestClient client_;
  const Uuid id_;
  std::mt19937 random_;
  int32_t session_id_ = 0;
  int32_t epoch_ = 0;
  std::vector<int64_t> offsets_ = std::vector<int64_t>(kPartitions, 0);
  std::vector<int32_t> moved_;
  int64_t largest_answer_ = 0;
};

}  // namespace

TEST_CASE("a session on many partitions misses nothing that moves between or during its fetches", "[api]") {
  const uint32_t seed = GENERATE(1u, 2u, 3u);
  INFO("seed " << seed);
  const TestBroker::Settings settings = {{"shards", seed % 2 == 0 ? "1" : "3"}};
  TestBroker broker(settings);
  TestClient producer(broker.port());
  const Uuid id = create_topic(producer, "t", kPartitions);
  SessionReader reader(broker.port(), id, seed);
  std::mt19937 random(seed);
  reader.fetch(0);
  int64_t produced = 0;
  const auto produce_some = [&](int count) {
    for (int i = 0; i < count; ++i) {
      produce(producer, "t", static_cast<int32_t>(random() % kPartitions), batch_of({"x", "y"}));
      produced += 2;
    }
  };
  for (int round = 0; round < 60; ++round) {
    produce_some(static_cast<int>(random() % 4));
    if (random() % 3 == 0) {
      // While the fetch waits, or just before it does.
      reader.ask(20);
      produce_some(8);
      reader.receive();
    }
    reader.fetch(0);
  }
  // What is there is answered at once, without a wait. Small limits may make it many answers.
  for (int i = 0; i < 2000 && reader.total() < produced; ++i) reader.fetch(0);
  CHECK(reader.total() == produced);
  reader.fetch(0);
  CHECK(reader.total() == produced);
}

TEST_CASE("a session's waiting fetch is woken by whichever partition moves", "[api]") {
  TestBroker broker;
  TestClient producer(broker.port());
  const Uuid id = create_topic(producer, "t", kPartitions);
  SessionReader reader(broker.port(), id, 1);
  reader.fetch(0);
  reader.fetch(0);
  int64_t produced = 0;
  for (int32_t partition = 0; partition < kPartitions; ++partition) {
    // Twenty minutes: a wake-up that is lost would be noticed.
    reader.ask(1'200'000);
    for (int i = 0; i < 6; ++i) produce(producer, "t", partition, batch_of({"xxxxxxxxxxxxxxxx", "y"}));
    produced += 12;
    reader.receive();
    while (reader.total() < produced) reader.fetch(1'200'000);
  }
  CHECK(reader.largest_answer() <= 2);
}

TEST_CASE("a session made by a fetch that waited hears of partitions which that found at their end",
          "[api]") {
  TestBroker broker;
  TestClient producer(broker.port());
  const Uuid id = create_topic(producer, "t", kPartitions);
  SessionReader reader(broker.port(), id, 1);
  reader.fetch(20);
  produce(producer, "t", 3, batch_of({"x", "y"}));
  for (int i = 0; i < 50 && reader.total() == 0; ++i) reader.fetch(0);
  CHECK(reader.total() == 2);
}
