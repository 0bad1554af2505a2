#include "protocol/messages/metadata.h"

#include <algorithm>
#include <set>

#include "protocol/messages/describe_topic_partitions.h"
#include "tests/broker/api/requests.h"

using namespace millrace;
using namespace millrace::api;
using namespace millrace::protocol;

namespace {

MetadataResponse ask_all(TestClient& client, int16_t version) {
  MetadataRequest request;
  request.topics = std::nullopt;
  // Version 0 has no null.
  if (version == 0) request.topics.emplace();
  return client.call<MetadataResponse>(request, version);
}

MetadataResponse ask(TestClient& client, std::vector<MetadataRequest::Topic> topics, int16_t version,
                     bool may_create = false) {
  MetadataRequest request;
  request.topics = Array<MetadataRequest::Topic>(topics);
  if (version >= 4) request.allow_auto_topic_creation = may_create;
  return client.call<MetadataResponse>(request, version);
}

MetadataRequest::Topic named(std::string_view name) {
  MetadataRequest::Topic topic;
  topic.name = name;
  return topic;
}

MetadataRequest::Topic identified(const Uuid& id) {
  MetadataRequest::Topic topic;
  topic.name = std::nullopt;
  topic.topic_id = id;
  return topic;
}

std::set<std::string> names_in(const MetadataResponse& response) {
  std::set<std::string> names;
  for (const auto& topic : response.topics) names.insert(std::string(topic.name.value_or("null")));
  CHECK(names.size() == response.topics.size());
  return names;
}

DescribeTopicPartitionsResponse page(TestClient& client, const std::vector<std::string_view>& names,
                                     int32_t limit, std::optional<std::pair<std::string, int32_t>> from) {
  std::vector<DescribeTopicPartitionsRequest::Topic> topics(names.size());
  for (size_t i = 0; i < names.size(); ++i) topics[i].name = names[i];
  DescribeTopicPartitionsRequest request;
  request.topics = topics;
  request.response_partition_limit = limit;
  if (from) {
    request.cursor.emplace();
    request.cursor->topic_name = from->first;
    request.cursor->partition_index = from->second;
  }
  return client.call<DescribeTopicPartitionsResponse>(request, 0);
}

}  // namespace

TEST_CASE("Metadata of all topics, of none and of one, in every version", "[api]") {
  TestBroker broker(TestBroker::Settings{{"broker.rack", "r1"}});
  TestClient client(broker.port());
  const Uuid id = create_topic(client, "a", 3);
  create_topic(client, "b");
  for (int16_t version = 0; version <= 13; ++version) {
    INFO("version " << version);
    const auto all = ask_all(client, version);
    CHECK(names_in(all) == std::set<std::string>{"a", "b"});
    REQUIRE(all.brokers.size() == 1);
    CHECK(all.brokers[0].host == "127.0.0.1");
    CHECK(all.brokers[0].port == broker.port());
    if (version >= 1) CHECK(all.brokers[0].rack == "r1");
    if (version >= 1) CHECK(all.controller_id == all.brokers[0].node_id);
    CHECK(all.cluster_id.has_value() == (version >= 2));
    if (version >= 1) CHECK(ask(client, {}, version).topics.size() == 0);

    const auto one = ask(client, {named("a")}, version);
    REQUIRE(one.topics.size() == 1);
    const auto& topic = one.topics[0];
    CHECK(topic.error_code == ErrorCode::kNone);
    CHECK(topic.name == "a");
    CHECK_FALSE(topic.is_internal);
    CHECK(topic.topic_id == (version >= 10 ? id : Uuid()));
    REQUIRE(topic.partitions.size() == 3);
    for (int32_t i = 0; i < 3; ++i) {
      const auto& partition = topic.partitions[static_cast<size_t>(i)];
      CHECK(partition.error_code == ErrorCode::kNone);
      CHECK(partition.partition_index == i);
      CHECK(partition.leader_id == one.brokers[0].node_id);
      CHECK(partition.leader_epoch == (version >= 7 ? 0 : -1));
      REQUIRE(partition.replica_nodes.size() == 1);
      CHECK(partition.replica_nodes[0] == partition.leader_id);
      REQUIRE(partition.isr_nodes.size() == 1);
      CHECK(partition.isr_nodes[0] == partition.leader_id);
    }
  }
}

TEST_CASE("Metadata finds topics by id from version 12 on", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  const Uuid id = create_topic(client, "a");
  create_topic(client, "b");
  const Uuid unknown = Uuid::from_random(1, 2);
  for (int16_t version = 12; version <= 13; ++version) {
    const auto response = ask(client, {identified(id), identified(unknown), identified(id)}, version);
    REQUIRE(response.topics.size() == 2);
    for (const auto& topic : response.topics) {
      if (topic.topic_id == id) {
        CHECK(topic.error_code == ErrorCode::kNone);
        CHECK(topic.name == "a");
      } else {
        CHECK(topic.topic_id == unknown);
        CHECK(topic.error_code == ErrorCode::kUnknownTopicId);
        CHECK_FALSE(topic.name);
      }
    }
  }
  for (int16_t version = 10; version <= 11; ++version) {
    auto by_id = named("");
    by_id.topic_id = id;
    const auto response = ask(client, {by_id}, version);
    REQUIRE(response.topics.size() == 1);
    CHECK(response.topics[0].error_code == ErrorCode::kInvalidRequest);
  }
}

TEST_CASE("Metadata creates missing topics only where client and broker both allow it", "[api]") {
  const bool broker_allows = GENERATE(true, false);
  TestBroker broker(TestBroker::Settings{{"auto.create.topics.enable", broker_allows ? "true" : "false"},
                                         {"num.partitions", "2"}});
  TestClient client(broker.port());
  const auto refused = ask(client, {named("t")}, 12, false);
  REQUIRE(refused.topics.size() == 1);
  CHECK(refused.topics[0].error_code == ErrorCode::kUnknownTopicOrPartition);
  CHECK(refused.topics[0].name == "t");
  CHECK(ask_all(client, 12).topics.size() == 0);
  const auto answer = ask(client, {named("t"), named("t"), named("not a name")}, 12, true);
  REQUIRE(answer.topics.size() == 2);
  const auto& invalid = answer.topics[0].name == "t" ? answer.topics[1] : answer.topics[0];
  CHECK(invalid.error_code == ErrorCode::kInvalidTopicException);
  // Whether or not it is told at once: from now on it is there, or it never is.
  const auto later = ask(client, {named("t")}, 12, false);
  REQUIRE(later.topics.size() == 1);
  if (broker_allows) {
    CHECK(later.topics[0].error_code == ErrorCode::kNone);
    CHECK(later.topics[0].partitions.size() == 2);
    CHECK(produce(client, "t", 1, batch_of({"x"})) == 0);
  } else {
    CHECK(later.topics[0].error_code == ErrorCode::kUnknownTopicOrPartition);
  }
  CHECK(ask_all(client, 12).topics.size() == (broker_allows ? 1 : 0));
}

TEST_CASE("Metadata tells what is allowed only to who asks", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  create_topic(client, "t");
  constexpr int32_t kNotTold = std::numeric_limits<int32_t>::min();
  std::vector<MetadataRequest::Topic> topics{named("t")};
  MetadataRequest request;
  request.topics = Array<MetadataRequest::Topic>(topics);
  const auto silent = client.call<MetadataResponse>(request, 10);
  CHECK(silent.topics[0].topic_authorized_operations == kNotTold);
  CHECK(silent.cluster_authorized_operations == kNotTold);
  request.include_topic_authorized_operations = true;
  request.include_cluster_authorized_operations = true;
  const auto told = client.call<MetadataResponse>(request, 10);
  CHECK(told.topics[0].topic_authorized_operations > 0);
  CHECK(told.cluster_authorized_operations > 0);
}

TEST_CASE("DescribeTopicPartitions tells everything in pages, each partition once", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  create_topic(client, "a", 3);
  create_topic(client, "b", 1);
  create_topic(client, "c", 5);
  using Found = std::vector<std::pair<std::string, int32_t>>;
  const Found everything = {{"a", 0}, {"a", 1}, {"a", 2}, {"b", 0}, {"c", 0},
                            {"c", 1}, {"c", 2}, {"c", 3}, {"c", 4}};
  for (const int32_t limit : {1, 2, 3, 4, 9, 2'000}) {
    INFO("limit " << limit);
    for (const std::vector<std::string_view>& names :
         {std::vector<std::string_view>{}, std::vector<std::string_view>{"c", "a", "b", "a"}}) {
      Found found;
      std::optional<std::pair<std::string, int32_t>> from;
      size_t pages = 0;
      do {
        const auto response = page(client, names, limit, from);
        int32_t count = 0;
        for (const auto& topic : response.topics) {
          CHECK(topic.error_code == ErrorCode::kNone);
          CHECK_FALSE(topic.topic_id.is_zero());
          for (const auto& partition : topic.partitions) {
            found.emplace_back(std::string(topic.name.value()), partition.partition_index);
            ++count;
          }
        }
        CHECK(count <= limit);
        from.reset();
        if (response.next_cursor)
          from.emplace(std::string(response.next_cursor->topic_name), response.next_cursor->partition_index);
      } while (from && ++pages < 20);
      CHECK_FALSE(from);
      CHECK(found == everything);
    }
  }
}

TEST_CASE("DescribeTopicPartitions refuses unknown topics and cursors to nowhere", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  create_topic(client, "a", 2);
  const auto response = page(client, {"a", "absent", "not a name"}, 100, std::nullopt);
  REQUIRE(response.topics.size() == 3);
  CHECK_FALSE(response.next_cursor);
  for (const auto& topic : response.topics) {
    const auto expected = topic.name == "a"        ? ErrorCode::kNone
                          : topic.name == "absent" ? ErrorCode::kUnknownTopicOrPartition
                                                   : ErrorCode::kInvalidTopicException;
    CHECK(topic.error_code == expected);
    CHECK(topic.partitions.size() == (topic.name == "a" ? 2 : 0));
  }
  for (const auto& from : {std::pair<std::string, int32_t>("b", 0), {"a", -1}}) {
    const auto refused = page(client, {"a"}, 100, from);
    REQUIRE(refused.topics.size() == 1);
    CHECK(refused.topics[0].error_code == ErrorCode::kInvalidRequest);
    CHECK(refused.topics[0].partitions.size() == 0);
  }
}
