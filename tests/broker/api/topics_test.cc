#include "protocol/messages/create_partitions.h"
#include "protocol/messages/delete_topics.h"
#include "protocol/messages/metadata.h"
#include "tests/broker/api/requests.h"

using namespace millrace;
using namespace millrace::api;
using namespace millrace::protocol;

namespace {

CreateTopicsRequest::Topic new_topic(std::string_view name, int32_t partitions = 1, int16_t replicas = 1) {
  CreateTopicsRequest::Topic topic;
  topic.name = name;
  topic.num_partitions = partitions;
  topic.replication_factor = replicas;
  return topic;
}

CreateTopicsResponse create(TestClient& client, std::vector<CreateTopicsRequest::Topic> topics,
                            int16_t version = 7, bool validate_only = false) {
  CreateTopicsRequest request;
  request.topics = topics;
  request.validate_only = validate_only;
  return client.call<CreateTopicsResponse>(request, version);
}

// -1 where there is no such topic.
int32_t partition_count(TestClient& client, std::string_view name) {
  std::vector<MetadataRequest::Topic> topics(1);
  topics[0].name = name;
  MetadataRequest request;
  request.topics = Array<MetadataRequest::Topic>(topics);
  request.allow_auto_topic_creation = false;
  const auto response = client.call<MetadataResponse>(request, 12);
  REQUIRE(response.topics.size() == 1);
  if (response.topics[0].error_code == ErrorCode::kUnknownTopicOrPartition) return -1;
  CHECK(response.topics[0].error_code == ErrorCode::kNone);
  return static_cast<int32_t>(response.topics[0].partitions.size());
}

CreatePartitionsResponse::Topic grow(TestClient& client, std::string_view name, int32_t count,
                                     int16_t version = 3, bool validate_only = false) {
  std::vector<CreatePartitionsRequest::Topic> topics(1);
  topics[0].name = name;
  topics[0].count = count;
  topics[0].assignments = std::nullopt;
  CreatePartitionsRequest request;
  request.topics = topics;
  request.validate_only = validate_only;
  const auto response = client.call<CreatePartitionsResponse>(request, version);
  REQUIRE(response.results.size() == 1);
  CHECK(response.results[0].name == name);
  return response.results[0];
}

}  // namespace

TEST_CASE("CreateTopics creates in every version, and says what it created where it can", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  for (int16_t version = 2; version <= 7; ++version) {
    INFO("version " << version);
    const std::string name = "t" + std::to_string(version);
    auto wanted = new_topic(name, 3);
    std::vector<CreateTopicsRequest::Topic::Config> configs(1);
    configs[0].name = "retention.ms";
    configs[0].value = "12345";
    wanted.configs = configs;
    const auto response = create(client, {wanted}, version);
    REQUIRE(response.topics.size() == 1);
    const auto& answer = response.topics[0];
    CHECK(answer.name == name);
    CHECK(answer.error_code == ErrorCode::kNone);
    CHECK_FALSE(answer.error_message);
    CHECK(answer.topic_id.is_zero() == (version < 7));
    if (version >= 5) {
      CHECK(answer.num_partitions == 3);
      CHECK(answer.replication_factor == 1);
      REQUIRE(answer.configs);
      bool found = false;
      for (const auto& config : *answer.configs) {
        if (config.name != "retention.ms") continue;
        found = true;
        CHECK(config.value == "12345");
        CHECK(config.config_source == 1);
      }
      CHECK(found);
    }
    CHECK(partition_count(client, name) == 3);
  }
}

TEST_CASE("CreateTopics takes the broker's defaults where it is asked to", "[api]") {
  TestBroker broker(TestBroker::Settings{{"num.partitions", "5"}});
  TestClient client(broker.port());
  const auto response = create(client, {new_topic("t", -1, -1)}, 4);
  REQUIRE(response.topics.size() == 1);
  CHECK(response.topics[0].error_code == ErrorCode::kNone);
  CHECK(partition_count(client, "t") == 5);
}

TEST_CASE("CreateTopics refuses topic by topic", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  create_topic(client, "there");
  auto misconfigured = new_topic("misconfigured");
  std::vector<CreateTopicsRequest::Topic::Config> configs(1);
  configs[0].name = "no.such.setting";
  configs[0].value = "1";
  misconfigured.configs = configs;
  auto assigned = new_topic("assigned", -1, -1);
  std::vector<int32_t> nobody{77};
  std::vector<CreateTopicsRequest::Topic::Assignment> assignments(1);
  assignments[0].broker_ids = nobody;
  assigned.assignments = assignments;
  const std::vector<std::pair<CreateTopicsRequest::Topic, ErrorCode>> cases = {
      {new_topic("there"), ErrorCode::kTopicAlreadyExists},
      {new_topic("not a name"), ErrorCode::kInvalidTopicException},
      {new_topic("none", 0), ErrorCode::kInvalidPartitions},
      {new_topic("two", 1, 2), ErrorCode::kInvalidReplicationFactor},
      {misconfigured, ErrorCode::kInvalidConfig},
      {assigned, ErrorCode::kInvalidReplicaAssignment},
      {new_topic("good"), ErrorCode::kNone}};
  std::vector<CreateTopicsRequest::Topic> topics;
  for (const auto& [topic, error] : cases) topics.push_back(topic);
  const auto response = create(client, topics);
  REQUIRE(response.topics.size() == cases.size());
  for (const auto& [topic, error] : cases) {
    INFO("topic " << topic.name);
    bool found = false;
    for (const auto& answer : response.topics) {
      if (answer.name != topic.name) continue;
      found = true;
      CHECK(answer.error_code == error);
      CHECK(answer.error_message.has_value() == (error != ErrorCode::kNone));
      CHECK(answer.topic_id.is_zero() == (error != ErrorCode::kNone));
    }
    CHECK(found);
  }
  CHECK(partition_count(client, "good") == 1);
  CHECK(partition_count(client, "misconfigured") == -1);
}

TEST_CASE("validate_only answers as if, and changes nothing", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  const auto validated = create(client, {new_topic("t", 2)}, 7, true);
  REQUIRE(validated.topics.size() == 1);
  CHECK(validated.topics[0].error_code == ErrorCode::kNone);
  CHECK(validated.topics[0].num_partitions == 2);
  CHECK(partition_count(client, "t") == -1);
  const auto refused = create(client, {new_topic("t", 0)}, 7, true);
  CHECK(refused.topics[0].error_code == ErrorCode::kInvalidPartitions);
  create_topic(client, "t", 2);
  CHECK(grow(client, "t", 4, 3, true).error_code == ErrorCode::kNone);
  CHECK(partition_count(client, "t") == 2);
}

TEST_CASE("DeleteTopics deletes by name in every version, and by id", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  for (int16_t version = 1; version <= 6; ++version) {
    INFO("version " << version);
    create_topic(client, "t");
    create_topic(client, "stays" + std::to_string(version));
    DeleteTopicsRequest request;
    std::vector<std::string_view> names{"t", "absent"};
    std::vector<DeleteTopicsRequest::Topic> topics(2);
    topics[0].name = "t";
    topics[1].name = "absent";
    if (version < 6) {
      request.topic_names = names;
    } else {
      request.topics = topics;
    }
    const auto response = client.call<DeleteTopicsResponse>(request, version);
    REQUIRE(response.responses.size() == 2);
    for (const auto& answer : response.responses) {
      CHECK(answer.error_code ==
            (answer.name == "t" ? ErrorCode::kNone : ErrorCode::kUnknownTopicOrPartition));
    }
    CHECK(partition_count(client, "t") == -1);
    CHECK(partition_count(client, "stays" + std::to_string(version)) == 1);
  }
  const Uuid id = create_topic(client, "t");
  std::vector<DeleteTopicsRequest::Topic> topics(2);
  topics[0].topic_id = id;
  topics[1].topic_id = Uuid::from_random(1, 2);
  DeleteTopicsRequest request;
  request.topics = topics;
  const auto response = client.call<DeleteTopicsResponse>(request, 6);
  REQUIRE(response.responses.size() == 2);
  for (const auto& answer : response.responses) {
    if (answer.topic_id == id) {
      CHECK(answer.error_code == ErrorCode::kNone);
      CHECK(answer.name == "t");
    } else {
      CHECK(answer.error_code == ErrorCode::kUnknownTopicId);
      CHECK_FALSE(answer.name);
    }
  }
  CHECK(partition_count(client, "t") == -1);
}

TEST_CASE("A topic made again under a deleted one's name is empty and another", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  const Uuid before = create_topic(client, "t");
  CHECK(produce(client, "t", 0, batch_of({"a", "b"})) == 0);
  std::vector<std::string_view> names{"t"};
  DeleteTopicsRequest request;
  request.topic_names = names;
  REQUIRE(client.call<DeleteTopicsResponse>(request, 5).responses[0].error_code == ErrorCode::kNone);
  CHECK(create_topic(client, "t") != before);
  CHECK(produce(client, "t", 0, batch_of({"c"})) == 0);
}

TEST_CASE("Files of a deleted topic that a kill left behind go with the next start, and bar no name",
          "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  create_topic(client, "t");
  CHECK(produce(client, "t", 0, batch_of({"a", "b"})) == 0);
  const std::filesystem::path partition = broker.directory() / "data/topics/t-0";
  const std::filesystem::path kept = broker.directory() / "kept";
  std::filesystem::copy(partition, kept);
  std::vector<std::string_view> names{"t"};
  DeleteTopicsRequest request;
  request.topic_names = names;
  REQUIRE(client.call<DeleteTopicsResponse>(request, 5).responses[0].error_code == ErrorCode::kNone);
  const bool is_made_again = GENERATE(false, true);
  if (!is_made_again) {
    // As if the kill had come before the shard could retire it.
    std::filesystem::rename(kept, partition);
  } else {
    // Another partition of it.
    std::filesystem::rename(kept, broker.directory() / "data/topics/t-1");
    create_topic(client, "t");
  }
  broker.restart();
  TestClient later(broker.port());
  if (!is_made_again) create_topic(later, "t");
  CHECK_FALSE(std::filesystem::exists(broker.directory() / "data/topics/t-1/00000000000000000000.log"));
  CHECK(produce(later, "t", 0, batch_of({"c"})) == 0);
}

TEST_CASE("the partitions that keep groups can't become more", "[api]") {
  TestBroker broker(TestBroker::Settings{{"offsets.topic.num.partitions", "3"}});
  TestClient client(broker.port());
  protocol::FindCoordinatorRequest request;
  request.key = "g";
  REQUIRE(client.call<protocol::FindCoordinatorResponse>(request, 3).error_code == ErrorCode::kNone);
  for (const bool validate_only : {true, false}) {
    const auto answer = grow(client, "__consumer_offsets", 5, 3, validate_only);
    CHECK(answer.error_code == ErrorCode::kInvalidPartitions);
    REQUIRE(answer.error_message);
    CHECK(answer.error_message->find("keeps a group") != std::string_view::npos);
  }
  CHECK(partition_count(client, "__consumer_offsets") == 3);
}

TEST_CASE("CreatePartitions adds partitions that can be written at once", "[api]") {
  TestBroker broker(TestBroker::Settings{{"shards", "2"}});
  TestClient client(broker.port());
  create_topic(client, "t");
  for (int16_t version = 0; version <= 3; ++version) {
    INFO("version " << version);
    const int32_t count = 4 * (version + 1);
    const auto answer = grow(client, "t", count, version);
    CHECK(answer.error_code == ErrorCode::kNone);
    CHECK_FALSE(answer.error_message);
    CHECK(partition_count(client, "t") == count);
    CHECK(produce(client, "t", count - 1, batch_of({"x"})) == 0);
  }
  CHECK(grow(client, "t", 16).error_code == ErrorCode::kInvalidPartitions);
  const auto fewer = grow(client, "t", 2);
  CHECK(fewer.error_code == ErrorCode::kInvalidPartitions);
  CHECK(fewer.error_message);
  CHECK(grow(client, "absent", 2).error_code == ErrorCode::kUnknownTopicOrPartition);
  CHECK(partition_count(client, "t") == 16);
}
