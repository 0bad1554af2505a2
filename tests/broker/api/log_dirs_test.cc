#include <map>

#include "protocol/messages/describe_log_dirs.h"
#include "tests/broker/api/requests.h"

using namespace millrace;
using namespace millrace::api;
using namespace millrace::protocol;

namespace {

using Sizes = std::map<std::pair<std::string, int32_t>, int64_t>;

// The sizes in the one log directory, by topic and partition.
Sizes sizes_in(const DescribeLogDirsResponse& response) {
  Sizes sizes;
  REQUIRE(response.results.size() == 1);
  CHECK(response.results[0].error_code == ErrorCode::kNone);
  for (const auto& topic : response.results[0].topics) {
    for (const auto& partition : topic.partitions) {
      CHECK(partition.offset_lag == 0);
      CHECK_FALSE(partition.is_future_key);
      const bool is_new = sizes
                              .emplace(std::pair(std::string(topic.name), partition.partition_index),
                                       partition.partition_size)
                              .second;
      CHECK(is_new);
    }
  }
  return sizes;
}

}  // namespace

TEST_CASE("DescribeLogDirs tells directory and sizes of all partitions in every version", "[api]") {
  TestBroker broker(TestBroker::Settings{{"shards", "2"}});
  TestClient client(broker.port());
  create_topic(client, "a", 2);
  create_topic(client, "b");
  const Buffer batch = batch_of({"some", "records"});
  produce(client, "a", 1, batch);
  produce(client, "a", 1, batch);
  const auto twice = static_cast<int64_t>(2 * batch.size());
  DescribeLogDirsRequest request;
  request.topics = std::nullopt;
  for (int16_t version = 1; version <= 5; ++version) {
    INFO("version " << version);
    const auto response = client.call<DescribeLogDirsResponse>(request, version);
    CHECK(response.error_code == ErrorCode::kNone);
    CHECK(sizes_in(response) == Sizes{{{"a", 0}, 0}, {{"a", 1}, twice}, {{"b", 0}, 0}});
    CHECK(response.results[0].log_dir == (broker.directory() / "data").string());
    if (version >= 4) {
      CHECK(response.results[0].total_bytes > 0);
      CHECK(response.results[0].usable_bytes >= 0);
      CHECK(response.results[0].usable_bytes <= response.results[0].total_bytes);
    }
    CHECK_FALSE(response.results[0].is_cordoned);
  }
}

TEST_CASE("DescribeLogDirs tells of what is asked for and there, once", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  create_topic(client, "a", 3);
  create_topic(client, "b");
  std::vector<int32_t> some{1, 2, 1, 7, -1};
  std::vector<int32_t> first{0};
  std::vector<DescribeLogDirsRequest::Topic> topics(2);
  topics[0].topic = "a";
  topics[0].partitions = some;
  topics[1].topic = "absent";
  topics[1].partitions = first;
  DescribeLogDirsRequest request;
  request.topics = Array<DescribeLogDirsRequest::Topic>(topics);
  CHECK(sizes_in(client.call<DescribeLogDirsResponse>(request, 5)) == Sizes{{{"a", 1}, 0}, {{"a", 2}, 0}});
  request.topics = Array<DescribeLogDirsRequest::Topic>();
  CHECK(sizes_in(client.call<DescribeLogDirsResponse>(request, 5)).empty());
}
