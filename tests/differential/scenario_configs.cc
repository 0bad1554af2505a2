#include "protocol/messages/list_config_resources.h"
#include "tests/differential/requests.h"
#include "tests/differential/scenarios.h"

namespace millrace::differential {
namespace {

using namespace protocol;

constexpr int8_t kTopic = 2;
constexpr int8_t kBroker = 4;
constexpr int8_t kGroup = 32;
enum Operation : int8_t { kSet = 0, kDelete = 1, kAppend = 2, kSubtract = 3 };

using Keys = std::optional<std::vector<std::string>>;

DescribeConfigsRequest description(Call& call, int8_t type, const std::string& name, const Keys& keys,
                                   bool synonyms) {
  DescribeConfigsRequest::Resource resource;
  resource.resource_type = type;
  resource.resource_name = call.arena.copy(name);
  if (keys) {
    std::vector<std::string_view> views;
    for (const std::string& key : *keys) views.push_back(call.arena.copy(key));
    resource.configuration_keys = call.arena.copy(views);
  }
  DescribeConfigsRequest request;
  request.resources = call.arena.copy(std::vector{resource});
  request.include_synonyms = synonyms;
  return request;
}

// The settings of a group that both have.
const Keys kGroupKeys =
    std::vector<std::string>{"consumer.heartbeat.interval.ms", "consumer.session.timeout.ms"};

// The settings of the broker that both have.
const Keys kBrokerKeys = std::vector<std::string>{"num.partitions",
                                                  "default.replication.factor",
                                                  "auto.create.topics.enable",
                                                  "delete.topic.enable",
                                                  "log.retention.ms",
                                                  "log.retention.hours",
                                                  "log.retention.bytes",
                                                  "log.segment.bytes",
                                                  "log.roll.ms",
                                                  "message.max.bytes",
                                                  "compression.type",
                                                  "log.cleanup.policy",
                                                  "log.message.timestamp.type",
                                                  "min.insync.replicas",
                                                  "fetch.max.bytes",
                                                  "socket.request.max.bytes",
                                                  "queued.max.request.bytes",
                                                  "connections.max.idle.ms",
                                                  "max.connections",
                                                  "max.connections.per.ip",
                                                  "max.incremental.fetch.session.cache.slots",
                                                  "background.threads",
                                                  "broker.rack",
                                                  "node.id",
                                                  "log.index.interval.bytes",
                                                  "log.cleaner.backoff.ms",
                                                  "log.cleaner.dedupe.buffer.size",
                                                  "log.cleaner.enable",
                                                  "log.cleaner.io.max.bytes.per.second",
                                                  "log.retention.check.interval.ms",
                                                  "producer.id.expiration.ms",
                                                  "socket.listen.backlog.size",
                                                  "log.preallocate",
                                                  "group.consumer.heartbeat.interval.ms",
                                                  "group.consumer.max.heartbeat.interval.ms",
                                                  "group.consumer.max.session.timeout.ms",
                                                  "group.consumer.min.heartbeat.interval.ms",
                                                  "group.consumer.min.session.timeout.ms",
                                                  "group.consumer.session.timeout.ms"};

void compare_describing(Comparison& c) {
  set_up(c, {{"conf-plain"},
             {"conf-set", 1, 1, {}, {{"retention.ms", "5000"}, {"cleanup.policy", "compact,delete"}}}});
  c.in_versions<DescribeConfigsRequest>([&](int16_t v) {
    const auto ask = [&](const std::string& step, int8_t type, const std::string& name, const Keys& keys,
                         bool synonyms) {
      c.ask(step, v, [&](Call& call) { return description(call, type, name, keys, synonyms); });
    };
    ask("all of a topic", kTopic, "conf-plain", {}, false);
    ask("all of a topic, synonyms", kTopic, "conf-set", {}, true);
    ask("keys of a topic", kTopic, "conf-set", {{"retention.ms", "segment.ms"}}, true);
    ask("unknown key", kTopic, "conf-set", {{"retention.miss"}}, false);
    ask("no keys", kTopic, "conf-set", std::vector<std::string>{}, false);
    ask("unknown topic", kTopic, "conf-none", {}, false);
    ask("invalid topic", kTopic, "a b", {}, false);
    ask("no topic", kTopic, "", {}, false);
    ask("broker", kBroker, "1", kBrokerKeys, false);
    ask("broker, synonyms", kBroker, "1", kBrokerKeys, true);
    ask("all brokers", kBroker, "", {}, false);
    ask("another broker", kBroker, "7", {}, false);
    ask("no broker's name", kBroker, "one", {}, false);
    ask("group", kGroup, "conf-group", kGroupKeys, false);
    ask("group, synonyms", kGroup, "conf-group", kGroupKeys, true);
    ask("all of a group", kGroup, "conf-group", {}, true);
    ask("group without a name", kGroup, "", {}, false);
    ask("unknown type", 3, "x", {}, false);
    ask("type 0", 0, "x", {}, false);
    ask("two topics", kTopic, "conf-plain", {{"retention.ms"}}, false);
    c.ask("two resources, one twice", v, [&](Call& call) {
      DescribeConfigsRequest request = description(call, kTopic, "conf-set", {{"retention.ms"}}, false);
      std::vector<DescribeConfigsRequest::Resource> resources(3, request.resources[0]);
      resources[1].resource_name = "conf-none";
      request.resources = call.arena.copy(resources);
      return request;
    });
  });
}

AlterConfigsRequest alteration(Call& call, int8_t type, const std::vector<std::string>& names,
                               const ConfigList& configs, bool validate_only) {
  using Resource = AlterConfigsRequest::Resource;
  std::vector<Resource::Config> wanted;
  for (const auto& [key, value] : configs) {
    Resource::Config& config = wanted.emplace_back();
    config.name = call.arena.copy(key);
    config.value = value ? std::optional(call.arena.copy(std::string_view(*value))) : std::nullopt;
  }
  std::vector<Resource> resources;
  for (const std::string& name : names) {
    resources.push_back(
        {.resource_type = type, .resource_name = call.arena.copy(name), .configs = call.arena.copy(wanted)});
  }
  AlterConfigsRequest request;
  request.resources = call.arena.copy(resources);
  request.validate_only = validate_only;
  return request;
}

// What the topic's own settings are now.
void compare_result(Comparison& c, const std::string& step, const std::string& topic) {
  c.ask("after " + step, 4, [&](Call& call) { return description(call, kTopic, topic, {}, true); });
}

void compare_altering(Comparison& c) {
  c.in_versions<AlterConfigsRequest>([&](int16_t v) {
    const std::string topic = "alter-" + std::to_string(v);
    set_up(c, {{topic, 1, 1, {}, {{"segment.ms", "60000"}}}});
    const auto ask = [&](const std::string& step, const ConfigList& configs, int8_t type = kTopic,
                         std::vector<std::string> names = {}) {
      if (names.empty()) names = {topic};
      c.ask(step + ", validated", v,
            [&](Call& call) { return alteration(call, type, names, configs, true); });
      c.ask(step, v, [&](Call& call) { return alteration(call, type, names, configs, false); });
    };
    ask("replace", {{"retention.ms", "1000"}, {"max.message.bytes", "2000"}});
    compare_result(c, "replace v" + std::to_string(v), topic);
    ask("null value", {{"retention.ms", std::nullopt}});
    ask("bad value", {{"retention.ms", "soon"}});
    ask("unknown key", {{"retention.miss", "1"}});
    ask("the same key twice", {{"retention.ms", "1000"}, {"retention.ms", "2000"}});
    ask("unknown topic", {{"retention.ms", "1000"}}, kTopic, {"alter-none"});
    ask("invalid topic", {{"retention.ms", "1000"}}, kTopic, {"a b"});
    ask("no topic", {{"retention.ms", "1000"}}, kTopic, {""});
    // Apache Kafka never answers this: once is enough to wait for it.
    if (v == 1) {
      c.ask("the same topic twice", v, [&](Call& call) {
        return alteration(call, kTopic, {topic, topic}, {{"retention.ms", "1000"}}, false);
      });
    }
    ask("known and unknown", {{"retention.ms", "3000"}}, kTopic, {topic, "alter-none"});
    ask("unknown type", {{"retention.ms", "1000"}}, 3, {"x"});
    ask("another broker", {{"log.retention.ms", "1000"}}, kBroker, {"7"});
    ask("nothing", {});
    compare_result(c, "nothing v" + std::to_string(v), topic);
  });
}

struct Change {
  std::string key;
  int8_t operation;
  std::optional<std::string> value;
};

IncrementalAlterConfigsRequest change(Call& call, int8_t type, const std::vector<std::string>& names,
                                      const std::vector<Change>& changes, bool validate_only) {
  using Resource = IncrementalAlterConfigsRequest::Resource;
  std::vector<Resource::Config> wanted;
  for (const Change& change : changes) {
    Resource::Config& config = wanted.emplace_back();
    config.name = call.arena.copy(change.key);
    config.config_operation = change.operation;
    config.value =
        change.value ? std::optional(call.arena.copy(std::string_view(*change.value))) : std::nullopt;
  }
  std::vector<Resource> resources;
  for (const std::string& name : names) {
    resources.push_back(
        {.resource_type = type, .resource_name = call.arena.copy(name), .configs = call.arena.copy(wanted)});
  }
  IncrementalAlterConfigsRequest request;
  request.resources = call.arena.copy(resources);
  request.validate_only = validate_only;
  return request;
}

void compare_changing(Comparison& c) {
  c.in_versions<IncrementalAlterConfigsRequest>([&](int16_t v) {
    const std::string topic = "change-" + std::to_string(v);
    set_up(c, {{topic}});
    const auto ask = [&](const std::string& step, const std::vector<Change>& changes, int8_t type = kTopic,
                         std::vector<std::string> names = {}) {
      if (names.empty()) names = {topic};
      c.ask(step + ", validated", v, [&](Call& call) { return change(call, type, names, changes, true); });
      c.ask(step, v, [&](Call& call) { return change(call, type, names, changes, false); });
    };
    ask("set", {{"retention.ms", kSet, "1000"}, {"cleanup.policy", kSet, "compact"}});
    ask("append", {{"cleanup.policy", kAppend, "delete"}});
    compare_result(c, "append v" + std::to_string(v), topic);
    ask("append what is there", {{"cleanup.policy", kAppend, "delete"}});
    ask("append nonsense", {{"cleanup.policy", kAppend, "forget"}});
    ask("subtract", {{"cleanup.policy", kSubtract, "compact"}});
    ask("subtract what isn't there", {{"cleanup.policy", kSubtract, "compact"}});
    ask("append to a number", {{"retention.ms", kAppend, "1"}});
    ask("subtract from a number", {{"retention.ms", kSubtract, "1"}});
    ask("append to a default", {{"leader.replication.throttled.replicas", kAppend, "0:1"}});
    ask("delete", {{"retention.ms", kDelete, std::nullopt}});
    ask("delete what is default", {{"segment.ms", kDelete, std::nullopt}});
    ask("delete with a value", {{"segment.ms", kDelete, "5"}});
    compare_result(c, "delete v" + std::to_string(v), topic);
    ask("set null", {{"retention.ms", kSet, std::nullopt}});
    ask("append nothing", {{"cleanup.policy", kAppend, ""}});
    ask("append null", {{"cleanup.policy", kAppend, std::nullopt}});
    ask("bad operation", {{"retention.ms", 9, "1"}});
    ask("bad value", {{"retention.ms", kSet, "soon"}});
    ask("out of range", {{"segment.bytes", kSet, "3"}});
    ask("unknown key", {{"retention.miss", kSet, "1"}});
    ask("unknown key deleted", {{"retention.miss", kDelete, std::nullopt}});
    ask("the same key twice", {{"retention.ms", kSet, "1"}, {"retention.ms", kSet, "2"}});
    ask("good and bad", {{"segment.ms", kSet, "70000"}, {"retention.ms", kSet, "x"}});
    ask("unknown topic", {{"retention.ms", kSet, "1"}}, kTopic, {"change-none"});
    ask("invalid topic", {{"retention.ms", kSet, "1"}}, kTopic, {"a b"});
    ask("the same topic twice", {{"retention.ms", kSet, "1"}}, kTopic, {topic, topic});
    ask("known and unknown", {{"retention.ms", kSet, "4000"}}, kTopic, {topic, "change-none"});
    ask("unknown type", {{"retention.ms", kSet, "1"}}, 3, {"x"});
    ask("another broker", {{"log.retention.ms", kSet, "1000"}}, kBroker, {"7"});
    ask("broker's read-only key", {{"node.id", kSet, "9"}}, kBroker, {"1"});
    ask("broker's bad value", {{"log.retention.ms", kSet, "x"}}, kBroker, {"1"});
    ask("nothing", {});
    compare_result(c, "all v" + std::to_string(v), topic);
  });
}

ListConfigResourcesRequest listing(Call& call, const std::vector<int8_t>& types) {
  ListConfigResourcesRequest request;
  request.resource_types = call.arena.copy(types);
  return request;
}

void compare_group_settings(Comparison& c) {
  const std::string session = "consumer.session.timeout.ms", heartbeat = "consumer.heartbeat.interval.ms";
  // What the groups' own settings are now.
  const auto result = [&](const std::string& step, const std::string& group) {
    c.ask("after " + step, 4, [&](Call& call) { return description(call, kGroup, group, kGroupKeys, true); });
    c.ask("listed after " + step, 1, [&](Call& call) { return listing(call, {kGroup}); });
  };
  result("nothing", "set-0");
  c.in_versions<IncrementalAlterConfigsRequest>([&](int16_t v) {
    const std::string group = "set-" + std::to_string(v);
    const auto ask = [&](const std::string& step, const std::vector<Change>& changes,
                         std::vector<std::string> names = {}) {
      if (names.empty()) names = {group};
      c.ask("group, " + step + ", validated", v,
            [&](Call& call) { return change(call, kGroup, names, changes, true); });
      c.ask("group, " + step, v, [&](Call& call) { return change(call, kGroup, names, changes, false); });
    };
    ask("set", {{session, kSet, "50000"}, {heartbeat, kSet, "6000"}});
    result("set v" + std::to_string(v), group);
    ask("delete one", {{heartbeat, kDelete, std::nullopt}});
    ask("not a number", {{session, kSet, "soon"}});
    ask("zero", {{session, kSet, "0"}});
    ask("a session too short", {{session, kSet, "44999"}});
    ask("a session too long", {{session, kSet, "60001"}});
    ask("heartbeats too often", {{heartbeat, kSet, "4999"}});
    ask("heartbeats too seldom", {{heartbeat, kSet, "15001"}});
    ask("set null", {{session, kSet, std::nullopt}});
    ask("append", {{session, kAppend, "1"}});
    ask("unknown key", {{"consumer.nonsense", kSet, "1"}});
    ask("unknown key deleted", {{"consumer.nonsense", kDelete, std::nullopt}});
    ask("the same key twice", {{session, kSet, "50000"}, {session, kSet, "51000"}});
    ask("no name", {{session, kSet, "50000"}}, {""});
    ask("a name of any characters", {{session, kSet, "50000"}}, {"a b/\xc3\xa9"});
    ask("two groups", {{session, kSet, "46000"}}, {group, group + "-other"});
    ask("nothing", {});
    result("all v" + std::to_string(v), group);
    ask("delete", {{session, kDelete, std::nullopt}}, {group, group + "-other", "a b/\xc3\xa9"});
    result("delete v" + std::to_string(v), group);
  });
  c.in_versions<AlterConfigsRequest>([&](int16_t v) {
    const std::string group = "replace-" + std::to_string(v);
    for (const ConfigList& configs :
         {ConfigList{{session, "50000"}, {heartbeat, "6000"}}, ConfigList{{session, "47000"}},
          ConfigList{{session, "1"}}, ConfigList{}}) {
      c.ask("group, replace with " + std::to_string(configs.size()), v,
            [&](Call& call) { return alteration(call, kGroup, {group}, configs, false); });
      result("replace v" + std::to_string(v), group);
    }
  });
  c.in_versions<ListConfigResourcesRequest>([&](int16_t v) {
    if (v == 0) return c.ask("list", v, [&](Call& call) { return listing(call, {}); });
    for (const int8_t type : {kBroker, int8_t{8}, int8_t{16}, kGroup, int8_t{99}})
      c.ask("list type " + std::to_string(type), v, [&](Call& call) { return listing(call, {type}); });
  });
}

}  // namespace

void compare_configs(Comparison& c) {
  compare_describing(c);
  compare_altering(c);
  compare_changing(c);
  compare_group_settings(c);
}

}  // namespace millrace::differential
