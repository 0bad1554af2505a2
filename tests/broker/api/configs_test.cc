#include <algorithm>
#include <map>
#include <set>

#include "protocol/messages/alter_configs.h"
#include "protocol/messages/describe_configs.h"
#include "protocol/messages/incremental_alter_configs.h"
#include "protocol/messages/list_config_resources.h"
#include "tests/broker/api/requests.h"

using namespace millrace;
using namespace millrace::api;
using namespace millrace::protocol;

namespace {

constexpr int8_t kTopic = 2;
constexpr int8_t kBroker = 4;
constexpr int8_t kGroup = 32;

// Where a value comes from.
constexpr int8_t kOfTopic = 1;
constexpr int8_t kOfBroker = 2;
constexpr int8_t kOfConfigFile = 4;
constexpr int8_t kBuiltIn = 5;
constexpr int8_t kOfGroup = 8;

constexpr int8_t kSet = 0;
constexpr int8_t kDelete = 1;
constexpr int8_t kAppend = 2;
constexpr int8_t kSubtract = 3;

struct Description {
  ErrorCode error = ErrorCode::kNone;
  std::map<std::string, DescribeConfigsResponse::Resource::Config> configs;
};

struct Wanted {
  int16_t version = 4;
  std::vector<std::string_view> keys = {};  // empty: all
  bool synonyms = false;
  bool documentation = false;
};

Description describe(TestClient& client, int8_t type, std::string_view name, Wanted wanted = {}) {
  std::vector<DescribeConfigsRequest::Resource> resources(1);
  resources[0].resource_type = type;
  resources[0].resource_name = name;
  resources[0].configuration_keys = std::nullopt;
  if (!wanted.keys.empty()) resources[0].configuration_keys = Array<std::string_view>(wanted.keys);
  DescribeConfigsRequest request;
  request.resources = resources;
  request.include_synonyms = wanted.synonyms;
  request.include_documentation = wanted.documentation;
  const auto response = client.call<DescribeConfigsResponse>(request, wanted.version);
  REQUIRE(response.results.size() == 1);
  const auto& result = response.results[0];
  CHECK(result.resource_type == type);
  CHECK(result.resource_name == name);
  if (result.error_code == ErrorCode::kNone) CHECK(result.error_message.value_or("").empty());
  if (result.error_code == ErrorCode::kInvalidRequest) CHECK_FALSE(result.error_message.value_or("").empty());
  Description description{result.error_code, {}};
  for (const auto& config : result.configs) {
    INFO("setting " << config.name);
    CHECK(description.configs.emplace(config.name, config).second);
  }
  return description;
}

std::string value_of(TestClient& client, std::string_view topic, std::string_view key) {
  const auto described = describe(client, kTopic, topic, {.keys = {key}});
  REQUIRE(described.configs.size() == 1);
  return std::string(described.configs.begin()->second.value.value_or("null"));
}

struct Change {
  std::string_view name;
  int8_t operation;
  std::optional<std::string_view> value;
};

ErrorCode change(TestClient& client, int8_t type, std::string_view name, const std::vector<Change>& changes,
                 int16_t version = 1, bool validate_only = false) {
  std::vector<IncrementalAlterConfigsRequest::Resource::Config> configs(changes.size());
  for (size_t i = 0; i < changes.size(); ++i) {
    configs[i].name = changes[i].name;
    configs[i].config_operation = changes[i].operation;
    configs[i].value = changes[i].value;
  }
  std::vector<IncrementalAlterConfigsRequest::Resource> resources(1);
  resources[0].resource_type = type;
  resources[0].resource_name = name;
  resources[0].configs = configs;
  IncrementalAlterConfigsRequest request;
  request.resources = resources;
  request.validate_only = validate_only;
  const auto response = client.call<IncrementalAlterConfigsResponse>(request, version);
  REQUIRE(response.responses.size() == 1);
  CHECK(response.responses[0].resource_type == type);
  CHECK(response.responses[0].resource_name == name);
  return response.responses[0].error_code;
}

ErrorCode replace(TestClient& client, std::string_view topic,
                  const std::vector<std::pair<std::string_view, std::string_view>>& values,
                  int16_t version = 2, bool validate_only = false) {
  std::vector<AlterConfigsRequest::Resource::Config> configs(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    configs[i].name = values[i].first;
    configs[i].value = values[i].second;
  }
  std::vector<AlterConfigsRequest::Resource> resources(1);
  resources[0].resource_type = kTopic;
  resources[0].resource_name = topic;
  resources[0].configs = configs;
  AlterConfigsRequest request;
  request.resources = resources;
  request.validate_only = validate_only;
  const auto response = client.call<AlterConfigsResponse>(request, version);
  REQUIRE(response.responses.size() == 1);
  CHECK(response.responses[0].resource_name == topic);
  return response.responses[0].error_code;
}

}  // namespace

TEST_CASE("DescribeConfigs tells values, sources and types, as far as its version goes", "[api]") {
  TestBroker broker(TestBroker::Settings{{"log.segment.bytes", "2097152"}});
  TestClient client(broker.port());
  create_topic(client, "t");
  REQUIRE(change(client, kTopic, "t", {{"retention.ms", kSet, "77"}}) == ErrorCode::kNone);
  for (int16_t version = 1; version <= 4; ++version) {
    INFO("version " << version);
    auto described = describe(client, kTopic, "t", {.version = version});
    CHECK(described.error == ErrorCode::kNone);
    CHECK(described.configs.size() > 20);
    const auto& own = described.configs["retention.ms"];
    CHECK(own.value == "77");
    CHECK(own.config_source == kOfTopic);
    CHECK(own.config_type == (version >= 3 ? 5 : 0));
    CHECK_FALSE(own.read_only);
    CHECK_FALSE(own.is_sensitive);
    CHECK(own.synonyms.size() == 0);
    CHECK_FALSE(own.documentation.value_or("").size() > 0);
    const auto& from_broker = described.configs["segment.bytes"];
    CHECK(from_broker.value == "2097152");
    CHECK(from_broker.config_source == kOfConfigFile);
    CHECK(described.configs["cleanup.policy"].value == "delete");
    CHECK(described.configs["cleanup.policy"].config_source == kBuiltIn);
  }
}

TEST_CASE("DescribeConfigs narrows to the keys asked for, and explains on request", "[api]") {
  TestBroker broker(TestBroker::Settings{{"log.segment.bytes", "2097152"}});
  TestClient client(broker.port());
  create_topic(client, "t");
  REQUIRE(change(client, kTopic, "t", {{"segment.bytes", kSet, "3145728"}}) == ErrorCode::kNone);
  auto described =
      describe(client, kTopic, "t",
               {.keys = {"segment.bytes", "no.such.setting"}, .synonyms = true, .documentation = true});
  REQUIRE(described.configs.size() == 1);
  const auto& config = described.configs["segment.bytes"];
  CHECK(config.documentation.value_or("").size() > 10);
  std::vector<std::pair<std::string, int8_t>> synonyms;
  for (const auto& synonym : config.synonyms)
    synonyms.emplace_back(std::string(synonym.value.value_or("null")), synonym.source);
  CHECK(synonyms == std::vector<std::pair<std::string, int8_t>>{
                        {"3145728", kOfTopic}, {"2097152", kOfConfigFile}, {"1073741824", kBuiltIn}});
}

TEST_CASE("DescribeConfigs refuses what has no configuration", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  CHECK(describe(client, kTopic, "absent").error == ErrorCode::kUnknownTopicOrPartition);
  CHECK(describe(client, kTopic, "not a name").error == ErrorCode::kInvalidTopicException);
  CHECK(describe(client, kBroker, "4711").error == ErrorCode::kInvalidRequest);
  CHECK(describe(client, kBroker, "not a number").error == ErrorCode::kInvalidRequest);
  CHECK(describe(client, 1, "t").error == ErrorCode::kInvalidRequest);
}

TEST_CASE("DescribeConfigs answers a resource that is named twice once", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  create_topic(client, "a");
  create_topic(client, "b");
  std::vector<DescribeConfigsRequest::Resource> resources(1'000);
  for (size_t i = 0; i < resources.size(); ++i) {
    resources[i].resource_type = kTopic;
    resources[i].resource_name = i % 2 == 0 ? "a" : "b";
    resources[i].configuration_keys = std::nullopt;
  }
  DescribeConfigsRequest request;
  request.resources = resources;
  const auto response = client.call<DescribeConfigsResponse>(request, 4);
  REQUIRE(response.results.size() == 2);
  CHECK(response.results[0].resource_name == "a");
  CHECK(response.results[1].resource_name == "b");
  for (const auto& result : response.results) {
    CHECK(result.error_code == ErrorCode::kNone);
    CHECK(result.configs.size() > 20);
  }
}

TEST_CASE("IncrementalAlterConfigs sets, unsets, appends and subtracts, in both versions", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  create_topic(client, "t");
  for (int16_t version = 0; version <= 1; ++version) {
    INFO("version " << version);
    const auto alter = [&](std::string_view name, int8_t operation, std::optional<std::string_view> value) {
      return change(client, kTopic, "t", {{name, operation, value}}, version);
    };
    CHECK(alter("cleanup.policy", kAppend, "compact") == ErrorCode::kNone);
    CHECK(value_of(client, "t", "cleanup.policy") == "delete,compact");
    CHECK(alter("cleanup.policy", kSubtract, "delete") == ErrorCode::kNone);
    CHECK(value_of(client, "t", "cleanup.policy") == "compact");
    CHECK(alter("cleanup.policy", kDelete, std::nullopt) == ErrorCode::kNone);
    CHECK(value_of(client, "t", "cleanup.policy") == "delete");
    CHECK(alter("retention.ms", kSet, "123") == ErrorCode::kNone);
    CHECK(alter("retention.ms", kSet, "-7") == ErrorCode::kInvalidConfig);
    CHECK(alter("retention.ms", kAppend, "1") == ErrorCode::kInvalidConfig);
    CHECK(alter("no.such.setting", kSet, "1") == ErrorCode::kInvalidConfig);
    CHECK(alter("retention.ms", kSet, std::nullopt) == ErrorCode::kInvalidRequest);
    CHECK(value_of(client, "t", "retention.ms") == "123");
  }
  CHECK(change(client, kTopic, "absent", {{"retention.ms", kSet, "1"}}) ==
        ErrorCode::kUnknownTopicOrPartition);
  CHECK(change(client, kTopic, "t", {{"retention.ms", kSet, "1"}}, 1, true) == ErrorCode::kNone);
  CHECK(change(client, kTopic, "t", {{"segment.bytes", kSet, "2097152"}, {"retention.ms", kSet, "x"}}) ==
        ErrorCode::kInvalidConfig);
  CHECK(value_of(client, "t", "retention.ms") == "123");
  CHECK(value_of(client, "t", "segment.bytes") == "1073741824");
}

TEST_CASE("AlterConfigs replaces all of a topic's own settings, in every version", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  create_topic(client, "t");
  for (int16_t version = 0; version <= 2; ++version) {
    INFO("version " << version);
    CHECK(replace(client, "t", {{"retention.ms", "11"}, {"segment.bytes", "2097152"}}, version) ==
          ErrorCode::kNone);
    CHECK(value_of(client, "t", "segment.bytes") == "2097152");
    CHECK(replace(client, "t", {{"retention.ms", "12"}}, version, true) == ErrorCode::kNone);
    CHECK(value_of(client, "t", "retention.ms") == "11");
    CHECK(replace(client, "t", {{"retention.ms", "12"}}, version) == ErrorCode::kNone);
    CHECK(value_of(client, "t", "retention.ms") == "12");
    CHECK(value_of(client, "t", "segment.bytes") == "1073741824");
  }
  CHECK(replace(client, "t", {{"no.such.setting", "1"}}) == ErrorCode::kInvalidConfig);
  CHECK(replace(client, "absent", {{"retention.ms", "1"}}) == ErrorCode::kUnknownTopicOrPartition);
  CHECK(value_of(client, "t", "retention.ms") == "12");
}

TEST_CASE("A broker's dynamic settings hold for its topics, and outlive a restart", "[api]") {
  TestBroker broker;
  std::string node;
  {
    TestClient client(broker.port());
    create_topic(client, "t");
    ListConfigResourcesRequest request;
    std::vector<int8_t> types{kBroker};
    request.resource_types = types;
    const auto brokers = client.call<ListConfigResourcesResponse>(request, 1);
    REQUIRE(brokers.config_resources.size() == 1);
    node = brokers.config_resources[0].resource_name;
    CHECK(change(client, kBroker, node, {{"log.retention.ms", kSet, "4242"}}) == ErrorCode::kNone);
    CHECK(change(client, kBroker, node, {{"log.retention.ms", kSet, "x"}}) == ErrorCode::kInvalidRequest);
  }
  for (int round = 0; round < 2; ++round) {
    TestClient client(broker.port());
    CHECK(value_of(client, "t", "retention.ms") == "4242");
    auto described = describe(client, kBroker, node, {.keys = {"log.retention.ms", "log.dirs"}});
    CHECK(described.configs["log.retention.ms"].value == "4242");
    CHECK(described.configs["log.retention.ms"].config_source == kOfBroker);
    CHECK(described.configs["log.dirs"].config_source == kOfConfigFile);
    CHECK(described.configs["log.dirs"].read_only);
    if (round == 0) broker.restart();
  }
}

TEST_CASE("A changed topic setting holds for the next record", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  create_topic(client, "t");
  const std::string large(2'000, 'x');
  CHECK(produce(client, "t", 0, batch_of({large})) == 0);
  REQUIRE(change(client, kTopic, "t", {{"max.message.bytes", kSet, "1000"}}) == ErrorCode::kNone);
  CHECK(try_produce(client, "t", 0, batch_of({large})).error_code == ErrorCode::kMessageTooLarge);
  REQUIRE(change(client, kTopic, "t", {{"max.message.bytes", kDelete, std::nullopt}}) == ErrorCode::kNone);
  CHECK(produce(client, "t", 0, batch_of({large})) == 1);
}

TEST_CASE("A group's settings are described, changed and listed, whether it exists or not", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  const auto groups = [&] {
    std::vector<int8_t> types{kGroup};
    ListConfigResourcesRequest request;
    request.resource_types = types;
    const auto response = client.call<ListConfigResourcesResponse>(request, 1);
    std::vector<std::string> names;
    for (const auto& resource : response.config_resources) {
      CHECK(resource.resource_type == kGroup);
      names.emplace_back(resource.resource_name);
    }
    return names;
  };
  auto described = describe(client, kGroup, "g", {.synonyms = true});
  CHECK(described.error == ErrorCode::kNone);
  CHECK(described.configs.size() == 2);
  CHECK(described.configs["consumer.heartbeat.interval.ms"].value == "5000");
  CHECK(described.configs["consumer.heartbeat.interval.ms"].config_source == kBuiltIn);
  REQUIRE(described.configs["consumer.session.timeout.ms"].synonyms.size() == 1);
  CHECK(described.configs["consumer.session.timeout.ms"].synonyms[0].name ==
        "group.consumer.session.timeout.ms");
  CHECK(groups().empty());
  CHECK(change(client, kGroup, "g", {{"consumer.session.timeout.ms", kSet, "50000"}}) == ErrorCode::kNone);
  CHECK(change(client, kGroup, "f", {{"consumer.session.timeout.ms", kSet, "50000"}}) == ErrorCode::kNone);
  described = describe(client, kGroup, "g", {.synonyms = true});
  CHECK(described.configs["consumer.session.timeout.ms"].value == "50000");
  CHECK(described.configs["consumer.session.timeout.ms"].config_source == kOfGroup);
  CHECK(described.configs["consumer.session.timeout.ms"].synonyms.size() == 2);
  CHECK(groups() == std::vector<std::string>{"f", "g"});
  CHECK(change(client, kGroup, "g", {{"consumer.session.timeout.ms", kDelete, std::nullopt}}) ==
        ErrorCode::kNone);
  CHECK(groups() == std::vector<std::string>{"f"});
  CHECK(change(client, kGroup, "g", {{"share.isolation.level", kSet, "read_committed"}}) ==
        ErrorCode::kInvalidConfig);
  CHECK(describe(client, kGroup, "").error == ErrorCode::kInvalidRequest);
}

TEST_CASE("ListConfigResources lists topics and brokers, of the types asked for", "[api]") {
  TestBroker broker;
  TestClient client(broker.port());
  create_topic(client, "a");
  create_topic(client, "b");
  const auto list = [&](std::vector<int8_t> types, int16_t version = 1) {
    ListConfigResourcesRequest request;
    if (version >= 1) request.resource_types = types;
    const auto response = client.call<ListConfigResourcesResponse>(request, version);
    CHECK(response.error_code == ErrorCode::kNone);
    std::multiset<std::string> names;
    for (const auto& resource : response.config_resources) {
      if (resource.resource_type == kTopic) names.insert(std::string(resource.resource_name));
      if (resource.resource_type == kBroker) names.insert("a broker");
    }
    return names;
  };
  using Names = std::multiset<std::string>;
  CHECK(list({kTopic}) == Names{"a", "b"});
  CHECK(list({kBroker}) == Names{"a broker"});
  CHECK(list({}) == Names{"a", "a broker", "b"});
  CHECK(list({}, 0) == Names{});
  std::vector<int8_t> types{kTopic, 99};
  ListConfigResourcesRequest request;
  request.resource_types = types;
  const auto refused = client.call<ListConfigResourcesResponse>(request, 1);
  CHECK(refused.error_code == ErrorCode::kUnsupportedVersion);
  CHECK(refused.config_resources.size() == 0);
}
