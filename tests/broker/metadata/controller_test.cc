#include "broker/metadata/controller.h"

#include <catch2/catch.hpp>

#include "broker/metadata/group_config.h"
#include "tests/broker/metadata/test_cluster.h"

using namespace millrace;
using namespace millrace::metadata;

namespace {

std::string said(const Error& error) {
  if (error.code == ErrorCode::kNone && error.message.empty()) return "NONE";
  return std::string(error_name(error.code)) + ": " + error.message;
}

NewTopic topic(std::string name, int32_t partitions = 1, int16_t factor = 1) {
  return {.name = std::move(name), .num_partitions = partitions, .replication_factor = factor};
}

NewTopic assigned(std::vector<NewTopicAssignment> assignments) {
  NewTopic topic{.name = "assigned"};
  topic.assignments = std::move(assignments);
  return topic;
}

NewTopic configured(std::string name, std::string value) {
  NewTopic topic{.name = "configured"};
  topic.configs.emplace_back(std::move(name), std::move(value));
  return topic;
}

}  // namespace

TEST_CASE("A created topic is in every shard's image when the answer comes") {
  TestDirectory directory;
  TestCluster cluster(directory.path());
  cluster.start();
  const auto results = cluster.create({topic("orders", 3), {.name = "defaults"}});
  REQUIRE(results.size() == 2);
  CHECK(said(results[0].error) == "NONE");
  CHECK(results[0].num_partitions == 3);
  CHECK(results[0].replication_factor == 1);
  CHECK(results[0].configs.size() == 33);
  CHECK(results[1].num_partitions == 1);
  for (size_t shard : {0, 1}) {
    const ImagePtr image = cluster.image(shard);
    const TopicPtr orders = image->topic("orders");
    REQUIRE(orders);
    CHECK(orders->id == results[0].id);
    CHECK(image->topic(orders->id) == orders);
    REQUIRE(orders->partitions.size() == 3);
    CHECK(orders->partitions[2] == PartitionImage{{1}, {1}, 1, 0, 0});
    CHECK(image->partition_count() == 4);
    CHECK(image->partition({orders->id, 3}) == nullptr);
    CHECK(image->controller_id() == 1);
    CHECK(image->controller_epoch() > 0);
    REQUIRE(image->brokers().size() == 1);
    CHECK(image->brokers().at(1).epoch == image->controller_epoch());
    CHECK(!image->cluster_id().is_zero());
  }
}

// The messages are those of Apache Kafka 4.3.1, taken from a running one.
TEST_CASE("Bad topics get Kafka's codes and messages") {
  TestDirectory directory;
  TestCluster cluster(directory.path());
  cluster.start();
  REQUIRE(said(cluster.create(topic("t.a"))) == "NONE");
  const int64_t revision = cluster.image()->revision();
  const std::string bad_name = "INVALID_TOPIC_EXCEPTION: Topic name is invalid: ";
  const std::string bad_assignment = "INVALID_REPLICA_ASSIGNMENT: ";
  const std::string bad_factor =
      "INVALID_REPLICATION_FACTOR: Replication factor must be larger than 0, or -1 to use the default value.";
  const std::string bad_count =
      "INVALID_PARTITIONS: Number of partitions was set to an invalid non-positive value.";
  const std::vector<std::pair<NewTopic, std::string>> cases = {
      {topic(""), bad_name + "the empty string is not allowed"},
      {topic("."), bad_name + "'.' is not allowed"},
      {topic("a b"),
       bad_name + "'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"},
      {topic(std::string(250, 'x')),
       bad_name + "the length of '" + std::string(250, 'x') + "' is longer than the max allowed length 249"},
      {topic("t_a"), "INVALID_TOPIC_EXCEPTION: Topic 't_a' collides with existing topic: t.a"},
      {topic("t.a"), "TOPIC_ALREADY_EXISTS: Topic 't.a' already exists."},
      {topic("p0", 0), bad_count},
      {topic("p-2", -2), bad_count},
      {topic("rf0", 1, 0), bad_factor},
      {topic("rf-2", 1, -2), bad_factor},
      {topic("rf2", 0, 2), bad_count},
      {topic("rf2", 1, 2),
       "INVALID_REPLICATION_FACTOR: Unable to replicate the partition 2 time(s): The target replication "
       "factor of 2 "
       "cannot be reached because only 1 broker(s) are registered."},
      {topic("__cluster_metadata"),
       "INVALID_REQUEST: Creation of internal topic __cluster_metadata is prohibited."},
      {topic("big", 10001), "POLICY_VIOLATION: Excessively large number of partitions per request."},
      {assigned({{0, {1, 1}}}),
       bad_assignment + "The manual partition assignment includes the broker 1 more than once."},
      {assigned({{0, {2}}}),
       bad_assignment +
           "The manual partition assignment includes broker 2, but no such broker is registered."},
      {assigned({{1, {1}}}), bad_assignment + "partitions should be a consecutive 0-based integer sequence"},
      {assigned({{0, {1}}, {2, {1}}}),
       bad_assignment + "partitions should be a consecutive 0-based integer sequence"},
      {assigned({{0, {}}}),
       bad_assignment + "The manual partition assignment includes an empty replica list."},
      {assigned({{0, {1}}, {0, {1}}}),
       bad_assignment + "Found multiple manual partition assignments for partition 0"},
      {configured("nope", "1"), "INVALID_CONFIG: Unknown topic config name: nope"},
      {configured("segment.bytes", "1"),
       "INVALID_CONFIG: Invalid value 1 for configuration segment.bytes: Value must be at least 1048576"},
  };
  for (const auto& [request, message] : cases) CHECK(said(cluster.create(request)) == message);
  NewTopic null_value{.name = "null"};
  null_value.configs.emplace_back("segment.ms", std::nullopt);
  CHECK(said(cluster.create(null_value)) ==
        "INVALID_CONFIG: Null value not supported for topic configs: segment.ms");
  CHECK(cluster.image()->revision() == revision);
  CHECK(said(cluster.create(assigned({{0, {1}}, {1, {1}}}))) == "NONE");
  CHECK(said(cluster.create(topic(std::string(249, 'x')))) == "NONE");
}

TEST_CASE("One request creates what it can; twins are refused; validate_only changes nothing") {
  TestDirectory directory;
  TestCluster cluster(directory.path());
  cluster.start();
  const auto results = cluster.create({topic("a"), topic("b"), topic("b"), topic("c", 0)});
  REQUIRE(results.size() == 3);
  CHECK(said(results[0].error) == "NONE");
  CHECK(results[1].name == "b");
  CHECK(said(results[1].error) == "INVALID_REQUEST: Duplicate topic name.");
  CHECK(results[2].error.code == ErrorCode::kInvalidPartitions);
  const auto validated = cluster.create({topic("d", 4)}, true);
  CHECK(said(validated.at(0).error) == "NONE");
  CHECK(validated.at(0).num_partitions == 4);
  CHECK(cluster.image()->topics().size() == 1);
}

TEST_CASE("Topics are deleted by name and by id") {
  TestDirectory directory;
  TestCluster cluster(directory.path());
  cluster.start();
  const auto made = cluster.create({topic("a", 12), topic("b"), topic("c"), configured("retention.ms", "7")});
  const auto results = cluster.remove({{.name = "a"},
                                       {.name = std::nullopt, .id = made[1].id},
                                       {.name = "nope"},
                                       {.name = std::nullopt, .id = Uuid::from_random(1, 2)},
                                       {.name = "c"},
                                       {.name = "c"},
                                       {.name = std::nullopt}});
  REQUIRE(results.size() == 6);
  CHECK(said(results[0].error) == "NONE");
  CHECK(results[0].id == made[0].id);
  CHECK(said(results[1].error) == "NONE");
  CHECK(results[1].name == "b");
  CHECK(said(results[2].error) ==
        "UNKNOWN_TOPIC_OR_PARTITION: This server does not host this topic-partition.");
  CHECK(said(results[3].error) == "UNKNOWN_TOPIC_ID: This server does not host this topic ID.");
  CHECK(said(results[4].error) == "INVALID_REQUEST: Duplicate topic name.");
  CHECK(results[4].id.is_zero());
  CHECK(said(results[5].error) == "INVALID_REQUEST: Neither topic name nor id were specified.");
  CHECK(cluster.image(1)->topics().size() == 2);
  CHECK(cluster.image(1)->partition_count() == 2);
  // A new topic of the same name is another one, without the old one's configuration.
  cluster.remove({{.name = "configured"}});
  const auto again = cluster.create(std::vector{topic("configured")});
  CHECK(again[0].id != made[3].id);
  CHECK(cluster.image()->topic("configured")->configs.empty());
}

TEST_CASE("A topic to delete that is named by name and by id is answered once") {
  TestDirectory directory;
  TestCluster cluster(directory.path());
  cluster.start();
  const auto made = cluster.create(std::vector{topic("a")});
  const auto both = cluster.remove({{.name = "a"}, {.name = std::nullopt, .id = made[0].id}});
  REQUIRE(both.size() == 1);
  CHECK(said(both[0].error) ==
        "INVALID_REQUEST: The provided topic name maps to an ID that was already supplied.");
  const auto ids =
      cluster.remove({{.name = std::nullopt, .id = made[0].id}, {.name = std::nullopt, .id = made[0].id}});
  REQUIRE(ids.size() == 1);
  CHECK(said(ids[0].error) == "INVALID_REQUEST: Duplicate topic id.");
  CHECK(!ids[0].name);
  CHECK(cluster.image()->topic("a"));
}

TEST_CASE("Deleting topics can be turned off") {
  TestDirectory directory;
  TestCluster cluster(directory.path(), StaticConfig{{{"delete.topic.enable", "false"}}});
  cluster.start();
  cluster.create(topic("a"));
  CHECK(cluster.remove({{.name = "a"}})[0].error.code == ErrorCode::kTopicDeletionDisabled);
  CHECK(cluster.image()->topic("a"));
}

TEST_CASE("Partitions are added, with Kafka's messages where they can't be") {
  TestDirectory directory;
  TestCluster cluster(directory.path());
  cluster.start();
  cluster.create(topic("q", 1));
  CHECK(said(cluster.grow({"q", 1, {}})) == "INVALID_PARTITIONS: Topic already has 1 partition(s).");
  CHECK(said(cluster.grow({"q", 0, {}})) ==
        "INVALID_PARTITIONS: The topic q currently has 1 partition(s); 0 would not be an increase.");
  CHECK(said(cluster.grow({"q", 12, {}}, true)) == "NONE");
  CHECK(cluster.image()->topic("q")->partitions.size() == 1);
  CHECK(said(cluster.grow({"q", 12, {}})) == "NONE");
  REQUIRE(cluster.image(1)->topic("q")->partitions.size() == 12);
  CHECK(cluster.image(1)->topic("q")->partitions[11].leader == 1);
  CHECK(said(cluster.grow({"unknown", 2, {}})) == "UNKNOWN_TOPIC_OR_PARTITION: ");
  CHECK(said(cluster.grow({"q", 20000, {}})) ==
        "POLICY_VIOLATION: Excessively large number of partitions per request.");
  using Assignments = std::vector<std::vector<int32_t>>;
  CHECK(
      said(cluster.grow({"q", 15, Assignments{{1}}})) ==
      "INVALID_REPLICA_ASSIGNMENT: Attempted to add 3 additional partition(s), but only 1 assignment(s) were "
      "specified.");
  CHECK(
      said(cluster.grow({"q", 13, Assignments{{7}}})) ==
      "INVALID_REPLICA_ASSIGNMENT: The manual partition assignment includes broker 7, but no such broker is "
      "registered.");
  CHECK(said(cluster.grow({"q", 13, Assignments{{1}}})) == "NONE");
}

// The sequence and the answers are those of a running Kafka 4.3.1.
TEST_CASE("Topic configurations change one by one") {
  TestDirectory directory;
  TestCluster cluster(directory.path());
  cluster.start();
  cluster.create(topic("t"));
  const auto alter = [&](AlterOp op, std::string name, std::optional<std::string> value = "") {
    return said(cluster.alter(ResourceType::kTopic, "t", {{name, op, value}}));
  };
  const auto value = [&](std::string name) {
    const ConfigMap& configs = cluster.image(1)->topic("t")->configs;
    return configs.contains(name) ? configs.at(name) : "-";
  };
  CHECK(alter(AlterOp::kSet, "nope", "1") == "INVALID_CONFIG: Unknown topic config name: nope");
  CHECK(alter(AlterOp::kSet, "retention.ms", "-7") ==
        "INVALID_CONFIG: Invalid value -7 for configuration retention.ms: Value must be at least -1");
  CHECK(alter(AlterOp::kAppend, "retention.ms", "1") ==
        "INVALID_CONFIG: Can't APPEND to key retention.ms because its type is not LIST.");
  CHECK(alter(AlterOp::kSubtract, "nope", "1") ==
        "INVALID_CONFIG: Can't SUBTRACT to key nope because its type is not LIST.");
  CHECK(alter(AlterOp::kAppend, "cleanup.policy", "compact") == "NONE");
  CHECK(value("cleanup.policy") == "delete,compact");
  CHECK(alter(AlterOp::kAppend, "cleanup.policy", "compact") == "NONE");
  CHECK(value("cleanup.policy") == "delete,compact");
  CHECK(alter(AlterOp::kSubtract, "cleanup.policy", "delete") == "NONE");
  CHECK(value("cleanup.policy") == "compact");
  CHECK(alter(AlterOp::kAppend, "cleanup.policy", "bogus") ==
        "INVALID_CONFIG: Invalid value bogus for configuration cleanup.policy: String must be one of: "
        "compact, delete");
  CHECK(alter(AlterOp::kDelete, "cleanup.policy") == "NONE");
  CHECK(value("cleanup.policy") == "-");
  CHECK(alter(AlterOp::kDelete, "nope") == "NONE");
  CHECK(alter(AlterOp::kSet, "retention.ms", std::nullopt) ==
        "INVALID_REQUEST: Null value not supported for : retention.ms");
  CHECK(alter(AlterOp::kSet, "retention.ms", "5") == "NONE");
  CHECK(value("retention.ms") == "5");
  CHECK(said(cluster.alter(ResourceType::kTopic, "t", {{"retention.ms", AlterOp::kSet, "6"}}, true)) ==
        "NONE");
  CHECK(value("retention.ms") == "5");
  CHECK(said(cluster.alter(ResourceType::kTopic, "nonexist", {})) ==
        "UNKNOWN_TOPIC_OR_PARTITION: The topic 'nonexist' does not exist.");
  CHECK(said(cluster.alter(ResourceType::kTopic, "", {})) ==
        "INVALID_REQUEST: Default topic resources are not allowed.");
  CHECK(said(cluster.alter(ResourceType::kTopic, "t",
                           {{"segment.ms", AlterOp::kSet, "1"}, {"segment.ms", AlterOp::kSet, "2"}})) ==
        "INVALID_REQUEST: Error due to duplicate config keys");
  const std::vector<AlterResource> replace{{ResourceType::kTopic, "t", {{"segment.ms", AlterOp::kSet, "9"}}}};
  CHECK(said(cluster.call([&](Controller& c) { return c.replace_configs(replace, false); })[0].error) ==
        "NONE");
  CHECK(cluster.image()->topic("t")->configs == ConfigMap{{"segment.ms", "9"}});
}

TEST_CASE("A broker's dynamic configurations change, and give topics their defaults") {
  TestDirectory directory;
  TestCluster cluster(directory.path(), StaticConfig{{{"log.retention.hours", "2"}}});
  cluster.start();
  cluster.create(topic("t"));
  const auto alter = [&](std::string broker, AlterOp op, std::string name, std::string value) {
    return said(cluster.alter(ResourceType::kBroker, broker, {{name, op, value}}));
  };
  const auto retention = [&] {
    const ConfigDescriber describer(cluster.config(), 1);
    const auto entries = describer.describe(*cluster.image(), ResourceType::kTopic, "t", {{"retention.ms"}});
    REQUIRE(entries);
    REQUIRE(entries->size() == 1);
    return entries->at(0);
  };
  CHECK(retention().value == "7200000");
  CHECK(retention().source == ConfigSource::kStaticBroker);
  CHECK(alter("1", AlterOp::kSet, "log.retention.ms", "1000") == "NONE");
  CHECK(alter("", AlterOp::kSet, "log.retention.ms", "5000") == "NONE");
  CHECK(retention().value == "1000");
  CHECK(retention().source == ConfigSource::kDynamicBroker);
  std::string synonyms;
  for (const ConfigSynonym& s : retention().synonyms) {
    synonyms +=
        s.name + "=" + s.value.value_or("null") + "@" + std::to_string(static_cast<int>(s.source)) + " ";
  }
  CHECK(synonyms ==
        "log.retention.ms=1000@2 log.retention.ms=5000@3 log.retention.hours=2@4 log.retention.hours=168@5 ");
  CHECK(alter("1", AlterOp::kDelete, "log.retention.ms", "") == "NONE");
  CHECK(retention().value == "5000");
  CHECK(alter("1", AlterOp::kAppend, "log.cleanup.policy", "compact") == "NONE");
  CHECK(cluster.image(1)->broker_configs(1).at("log.cleanup.policy") == "delete,compact");
  CHECK(alter("1", AlterOp::kSet, "log.retention.ms", "x") ==
        "INVALID_REQUEST: Invalid value x for configuration log.retention.ms: Not a number of type LONG");
  CHECK(alter("1", AlterOp::kSet, "log.retention.hours", "1") ==
        "INVALID_REQUEST: Cannot update these configs dynamically: [log.retention.hours]");
  CHECK(alter("", AlterOp::kSet, "node.id", "1") ==
        "INVALID_REQUEST: Cannot update these configs dynamically: [node.id]");
  CHECK(alter("9", AlterOp::kSet, "log.retention.ms", "1") ==
        "INVALID_REQUEST: Unexpected broker id, expected 1, but received 9");
  CHECK(alter("x", AlterOp::kSet, "log.retention.ms", "1") ==
        "INVALID_REQUEST: Node id must be an integer, but it is: x");
  CHECK(alter("1", AlterOp::kSet, "nope", "1") == "NONE");
  CHECK(alter("", AlterOp::kSet, "max.connections", "7") == "NONE");
  CHECK(broker_config(cluster.config(), *cluster.image(1), 1).max_connections == 7);
}

// The answers are those of a running Kafka 4.3.1.
TEST_CASE("A group's configurations change, within the broker's bounds, and outlive a restart") {
  TestDirectory directory;
  {
    TestCluster cluster(directory.path());
    cluster.start();
    const auto alter = [&](AlterOp op, std::string name, std::optional<std::string> value = "") {
      return said(cluster.alter(ResourceType::kGroup, "g/1 \xc3\xa9", {{name, op, value}}));
    };
    const auto own = [&] { return cluster.image(1)->group_configs("g/1 \xc3\xa9"); };
    const std::string session = "consumer.session.timeout.ms", heartbeat = "consumer.heartbeat.interval.ms";
    CHECK(alter(AlterOp::kSet, "nope", "1") == "INVALID_CONFIG: Unknown group config name: nope");
    CHECK(alter(AlterOp::kSet, "share.session.timeout.ms", "45000") ==
          "INVALID_CONFIG: Unknown group config name: share.session.timeout.ms");
    CHECK(alter(AlterOp::kSet, session, "soon") ==
          "INVALID_CONFIG: Invalid value soon for configuration consumer.session.timeout.ms: Not a number of "
          "type INT");
    CHECK(alter(AlterOp::kSet, session, "0") ==
          "INVALID_CONFIG: Invalid value 0 for configuration consumer.session.timeout.ms: Value must be at "
          "least 1");
    CHECK(alter(AlterOp::kSet, session, "44999") ==
          "INVALID_CONFIG: consumer.session.timeout.ms must be greater than or equal to "
          "group.consumer.min.session.timeout.ms");
    CHECK(alter(AlterOp::kSet, session, "60001") ==
          "INVALID_CONFIG: consumer.session.timeout.ms must be less than or equal to "
          "group.consumer.max.session.timeout.ms");
    CHECK(alter(AlterOp::kSet, heartbeat, "4999") ==
          "INVALID_CONFIG: consumer.heartbeat.interval.ms must be greater than or equal to "
          "group.consumer.min.heartbeat.interval.ms");
    CHECK(alter(AlterOp::kSet, heartbeat, "15001") ==
          "INVALID_CONFIG: consumer.heartbeat.interval.ms must be less than or equal to "
          "group.consumer.max.heartbeat.interval.ms");
    CHECK(alter(AlterOp::kAppend, session, "1") ==
          "INVALID_CONFIG: Can't APPEND to key consumer.session.timeout.ms because its type is not LIST.");
    CHECK(said(cluster.alter(ResourceType::kGroup, "", {{session, AlterOp::kSet, "50000"}})) ==
          "INVALID_REQUEST: Default group resources are not allowed.");
    CHECK(cluster.image()->all_group_configs().empty());
    CHECK(alter(AlterOp::kSet, session, "50000") == "NONE");
    CHECK(alter(AlterOp::kSet, heartbeat, "6000") == "NONE");
    CHECK(said(cluster.alter(ResourceType::kGroup, "other", {{session, AlterOp::kSet, "46000"}})) == "NONE");
    CHECK(own() == ConfigMap{{heartbeat, "6000"}, {session, "50000"}});
    CHECK(alter(AlterOp::kDelete, heartbeat) == "NONE");
    CHECK(own() == ConfigMap{{session, "50000"}});
  }
  TestCluster again(directory.path());
  again.start();
  CHECK(again.image(1)->group_configs("g/1 \xc3\xa9").at("consumer.session.timeout.ms") == "50000");
  CHECK(again.image(1)->all_group_configs().size() == 2);
  CHECK(said(again.alter(ResourceType::kGroup, "other",
                         {{"consumer.session.timeout.ms", AlterOp::kDelete, std::nullopt}})) == "NONE");
  // Nothing is left of a group without configurations, nor of one that is only asked about.
  const ConfigDescriber describer(again.config(), 1);
  CHECK(describer.describe(*again.image(), ResourceType::kGroup, "asked", std::nullopt));
  CHECK(again.image()->all_group_configs().size() == 1);
}

TEST_CASE("A group's value outside bounds that were changed later counts as the nearest bound") {
  BrokerConfig broker = broker_config(StaticConfig{});
  const ConfigMap configs{{"consumer.heartbeat.interval.ms", "14000"},
                          {"consumer.session.timeout.ms", "50000"}};
  CHECK(group_config(configs, broker) == GroupConfig{50'000, 14'000});
  CHECK(group_config({}, broker) == GroupConfig{45'000, 5'000});
  broker.group_consumer_min_session_timeout_ms = 55'000;
  broker.group_consumer_max_heartbeat_interval_ms = 7'000;
  CHECK(group_config(configs, broker) == GroupConfig{55'000, 7'000});
  // The broker's own are its own matter.
  CHECK(group_config({}, broker) == GroupConfig{45'000, 5'000});
}

TEST_CASE("Producer ids are handed out once, also after a restart") {
  TestDirectory directory;
  int64_t next = 0;
  for (int run = 0; run < 3; ++run) {
    TestCluster cluster(directory.path());
    cluster.start();
    for (int i = 0; i < 2; ++i) {
      const auto block = cluster.call([](Controller& c) { return c.allocate_producer_ids(); });
      REQUIRE(block);
      CHECK(block->first == next);
      next = block->first + block->size;
    }
  }
  CHECK(next == 6 * kProducerIdBlockSize);
}

TEST_CASE("The cluster keeps its id; every process is a new incarnation with a later epoch") {
  TestDirectory directory;
  Uuid cluster_id, incarnation;
  int64_t epoch = 0;
  for (int run = 0; run < 3; ++run) {
    TestCluster cluster(directory.path(), {}, static_cast<uint64_t>(run) + 1);
    cluster.start();
    const ImagePtr image = cluster.image();
    if (run > 0) CHECK(image->cluster_id() == cluster_id);
    cluster_id = image->cluster_id();
    CHECK(image->controller_epoch() > epoch);
    epoch = image->controller_epoch();
    CHECK(image->brokers().at(1).incarnation != incarnation);
    incarnation = image->brokers().at(1).incarnation;
  }
}

TEST_CASE("A deposed controller changes nothing") {
  TestDirectory directory;
  TestCluster cluster(directory.path());
  cluster.start();
  auto depose = [&]() -> runtime::Task<> {
    Transaction transaction;
    transaction.operations.push_back(Operation::remove("controller"));
    (void)co_await cluster.store().commit(std::move(transaction));
  };
  cluster.shards()[0].run(depose);
  CHECK(cluster.create(topic("late")).code == ErrorCode::kNotController);
  CHECK(cluster.image()->topic("late") == nullptr);
}

TEST_CASE("An image is visible anywhere only when every shard's listeners have taken it") {
  struct Recorder final : ImageListener {
    explicit Recorder(TestCluster& cluster) : cluster(cluster) {}
    runtime::Task<> on_image(ImagePtr before, ImagePtr after, const ImageDelta& delta) override {
      CHECK(before->revision() == revision);
      CHECK(cluster.cache().image()->revision() == before->revision());
      for (int i = 0; i < 3; ++i) co_await runtime::Shard::current()->sleep_ms(1);
      CHECK(cluster.cache().image()->revision() == before->revision());
      for (const TopicChange& change : delta.topics) {
        if (!change.before && change.after) created.push_back(change.after->name);
        if (change.before && !change.after) deleted.push_back(change.before->name);
      }
      revision = after->revision();
    }
    TestCluster& cluster;
    int64_t revision = 0;
    std::vector<std::string> created, deleted;
  };
  TestDirectory directory;
  TestCluster cluster(directory.path());
  Recorder first(cluster), second(cluster);
  cluster.listen(0, first);
  cluster.listen(1, second);
  cluster.start();
  cluster.create({topic("a"), topic("b")});
  CHECK(second.created == std::vector<std::string>{"a", "b"});
  cluster.remove({{.name = "a"}});
  CHECK(first.deleted == std::vector<std::string>{"a"});
  CHECK(second.deleted == std::vector<std::string>{"a"});
  CHECK(first.revision == cluster.image()->revision());
}
