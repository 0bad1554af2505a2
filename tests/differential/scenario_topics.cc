#include "tests/differential/requests.h"
#include "tests/differential/scenarios.h"

namespace millrace::differential {
namespace {

using namespace protocol;

using Assignments = std::vector<std::pair<int32_t, std::vector<int32_t>>>;

void compare_creating(Comparison& c, int16_t v) {
  const auto name = [v](const std::string& what) { return "ct" + std::to_string(v) + "-" + what; };
  const auto ask = [&](const std::string& step, const std::vector<NewTopic>& topics) {
    c.ask(step + ", validated", v, [&](Call& call) { return create_topics_request(call, topics, true); });
    c.ask(step, v, [&](Call& call) { return create_topics_request(call, topics, false); });
  };
  ask("one", {{name("one")}});
  ask("existing", {{name("one")}});
  ask("three partitions", {{name("three"), 3}});
  ask("two topics", {{name("x"), 1}, {name("y"), 2}});
  ask("the same twice", {{name("twice"), 1}, {name("twice"), 2}, {name("beside"), 1}});
  ask("nothing", {});
  if (v >= 4) ask("defaults", {{name("defaults"), -1, -1}});
  if (v < 4) ask("no defaults yet", {{name("defaults"), -1, -1}});
  for (const int32_t count : {0, -2, -1})
    ask("partitions " + std::to_string(count), {{name("bad-count"), count}});
  for (const int16_t count : {0, -2, 2, 3})
    ask("replicas " + std::to_string(count), {{name("bad-replicas"), 1, count}});
  const std::vector<std::string> invalid = {"", ".", "..", "a b", "ä", "a/b", std::string(250, 'x')};
  for (size_t i = 0; i < invalid.size(); ++i) ask("invalid name " + std::to_string(i), {{invalid[i]}});
  ask("longest name", {{std::string(240, 'x') + name("")}});
  ask("dots", {{name("a.b")}});
  ask("colliding", {{name("a_b")}});
  ask("internal name", {{"__ct-internal-" + std::to_string(v)}});
}

void compare_assignments(Comparison& c, int16_t v) {
  int i = 0;
  const auto ask = [&](const std::string& step, const Assignments& assignments, int32_t partitions = -1,
                       int16_t replicas = -1) {
    const std::string name = "ca" + std::to_string(v) + "-" + std::to_string(i++);
    c.ask("assigned: " + step, v, [&](Call& call) {
      return create_topics_request(call, {{name, partitions, replicas, assignments}}, false);
    });
  };
  ask("two partitions", {{0, {1}}, {1, {1}}});
  ask("other order", {{1, {1}}, {0, {1}}});
  ask("with a count", {{0, {1}}}, 1);
  ask("with replicas", {{0, {1}}}, -1, 1);
  ask("with both", {{0, {1}}}, 1, 1);
  ask("gap", {{0, {1}}, {2, {1}}});
  ask("not from 0", {{1, {1}}});
  ask("negative", {{-1, {1}}});
  ask("partition twice", {{0, {1}}, {0, {1}}});
  ask("broker twice", {{0, {1, 1}}});
  ask("unknown broker", {{0, {9}}});
  ask("negative broker", {{0, {-1}}});
  ask("no broker", {{0, {}}});
  ask("unequal", {{0, {1}}, {1, {}}});
}

void compare_creation_configs(Comparison& c, int16_t v) {
  int i = 0;
  const auto ask = [&](const std::string& step, const ConfigList& configs) {
    const std::string name = "cc" + std::to_string(v) + "-" + std::to_string(i++);
    c.ask("configured: " + step, v, [&](Call& call) {
      return create_topics_request(call, {{name, 1, 1, {}, configs}}, false);
    });
  };
  ask("valid", {{"retention.ms", "1000"}, {"cleanup.policy", "compact"}, {"segment.bytes", "1048576"}});
  ask("both policies", {{"cleanup.policy", "compact,delete"}});
  ask("spaces", {{"retention.ms", " 1000 "}, {"cleanup.policy", " delete "}});
  ask("unknown key", {{"retention.miss", "1"}});
  ask("not a number", {{"retention.ms", "soon"}});
  ask("empty number", {{"retention.ms", ""}});
  ask("out of range", {{"segment.bytes", "1"}});
  ask("beyond int", {{"segment.bytes", "99999999999"}});
  ask("beyond long", {{"retention.ms", "99999999999999999999"}});
  ask("below the least", {{"retention.ms", "-2"}});
  ask("bad policy", {{"cleanup.policy", "forget"}});
  ask("no policy", {{"cleanup.policy", ""}});
  ask("bad compression", {{"compression.type", "rar"}});
  ask("all compressions", {{"compression.type", "zstd"}, {"compression.zstd.level", "22"}});
  ask("bad level", {{"compression.gzip.level", "10"}});
  ask("level -1", {{"compression.gzip.level", "-1"}});
  ask("level 0", {{"compression.gzip.level", "0"}});
  ask("bad boolean", {{"preallocate", "maybe"}});
  ask("boolean in capitals", {{"preallocate", "TRUE"}});
  ask("bad double", {{"min.cleanable.dirty.ratio", "1.5"}});
  ask("bad timestamp type", {{"message.timestamp.type", "Whenever"}});
  ask("no in-sync replicas", {{"min.insync.replicas", "0"}});
  ask("null value", {{"retention.ms", std::nullopt}});
  ask("same key twice", {{"retention.ms", "1000"}, {"retention.ms", "2000"}});
  ask("bad throttle list", {{"leader.replication.throttled.replicas", "one"}});
  ask("throttle list", {{"leader.replication.throttled.replicas", "0:1,1:1"}});
  ask("remote storage", {{"remote.storage.enable", "true"}});
  ask("local retention above", {{"local.retention.ms", "5000"}, {"retention.ms", "1000"}});
  ask("lags crossed", {{"min.compaction.lag.ms", "5000"}, {"max.compaction.lag.ms", "1000"}});
  ask("old keys", {{"message.format.version", "3.0"}});
  ask("old timestamp key", {{"message.timestamp.difference.max.ms", "1000"}});
}

DeleteTopicsRequest deletion(Call& call, const std::vector<std::string>& names) {
  DeleteTopicsRequest request;
  request.timeout_ms = 10'000;
  if (call.version >= 6) {
    std::vector<DeleteTopicsRequest::Topic> topics;
    for (const std::string& name : names) topics.push_back({.name = call.arena.copy(name)});
    request.topics = call.arena.copy(topics);
  } else {
    std::vector<std::string_view> views;
    for (const std::string& name : names) views.push_back(call.arena.copy(name));
    request.topic_names = call.arena.copy(views);
  }
  return request;
}

DeleteTopicsRequest deletion_by_id(Call& call, const std::vector<Uuid>& ids) {
  std::vector<DeleteTopicsRequest::Topic> topics;
  for (const Uuid& id : ids) topics.push_back({.topic_id = id});
  DeleteTopicsRequest request;
  request.timeout_ms = 10'000;
  request.topics = call.arena.copy(topics);
  return request;
}

void compare_deleting(Comparison& c, int16_t v) {
  const auto name = [v](const std::string& what) { return "dt" + std::to_string(v) + "-" + what; };
  set_up(c, {{name("a")}, {name("b")}, {name("c")}, {name("d")}, {name("e")}});
  const auto ask = [&](const std::string& step, const std::vector<std::string>& names) {
    c.ask(step, v, [&](Call& call) { return deletion(call, names); });
  };
  ask("one", {name("a")});
  ask("deleted", {name("a")});
  ask("unknown", {name("none")});
  ask("known and unknown", {name("b"), name("none")});
  ask("the same twice", {name("c"), name("c"), name("none")});
  ask("invalid name", {"a b"});
  ask("nothing", {});
  if (v < 6) return;
  const Uuid unknown = Uuid::from_random(3, 4);
  const auto ask_id = [&](const std::string& step, const std::function<std::vector<Uuid>(Peer&)>& ids) {
    c.ask(step, v, [&](Call& call) { return deletion_by_id(call, ids(call.peer)); });
  };
  ask_id("by unknown id", [&](Peer&) { return std::vector{unknown}; });
  ask_id("by no id", [&](Peer&) { return std::vector{Uuid{}}; });
  ask_id("by the same id twice", [&](Peer& peer) {
    return std::vector{peer.topic_id(name("d")), peer.topic_id(name("d"))};
  });
  c.ask("by id and name at once", v, [&](Call& call) {
    DeleteTopicsRequest request = deletion_by_id(call, {call.peer.topic_id(name("d"))});
    request.topics[0].name = call.arena.copy(name("d"));
    return request;
  });
  c.ask("by id and by name, the same topic", v, [&](Call& call) {
    std::vector<DeleteTopicsRequest::Topic> topics(2);
    topics[0].name = call.arena.copy(name("d"));
    topics[1].topic_id = call.peer.topic_id(name("d"));
    DeleteTopicsRequest request;
    request.timeout_ms = 10'000;
    request.topics = call.arena.copy(topics);
    return request;
  });
  ask_id("by id", [&](Peer& peer) { return std::vector{peer.topic_id(name("e"))}; });
  ask_id("by deleted id", [&](Peer& peer) { return std::vector{peer.topic_id(name("e"))}; });
}

using Brokers = std::vector<std::vector<int32_t>>;

struct Growth {
  std::string name;
  int32_t count;
  std::optional<Brokers> assignments;
};

CreatePartitionsRequest growth(Call& call, const std::vector<Growth>& grown, bool validate_only) {
  using Topic = CreatePartitionsRequest::Topic;
  std::vector<Topic> topics;
  for (const Growth& growth : grown) {
    Topic& topic = topics.emplace_back();
    topic.name = call.arena.copy(growth.name);
    topic.count = growth.count;
    if (!growth.assignments) continue;
    std::vector<Topic::Assignment> assignments;
    for (const auto& brokers : *growth.assignments)
      assignments.push_back({.broker_ids = call.arena.copy(brokers)});
    topic.assignments = call.arena.copy(assignments);
  }
  CreatePartitionsRequest request;
  request.topics = call.arena.copy(topics);
  request.timeout_ms = 10'000;
  request.validate_only = validate_only;
  return request;
}

void compare_growing(Comparison& c, int16_t v) {
  const auto name = [v](const std::string& what) { return "cp" + std::to_string(v) + "-" + what; };
  set_up(c, {{name("a"), 2}, {name("b"), 2}});
  const auto ask = [&](const std::string& step, const std::vector<Growth>& grown) {
    c.ask(step + ", validated", v, [&](Call& call) { return growth(call, grown, true); });
    c.ask(step, v, [&](Call& call) { return growth(call, grown, false); });
  };
  ask("same count", {{name("a"), 2, std::nullopt}});
  ask("fewer", {{name("a"), 1, std::nullopt}});
  ask("none", {{name("a"), 0, std::nullopt}});
  ask("negative", {{name("a"), -1, std::nullopt}});
  ask("unknown topic", {{name("none"), 3, std::nullopt}});
  ask("twice", {{name("a"), 3, std::nullopt}, {name("a"), 4, std::nullopt}, {name("b"), 2, std::nullopt}});
  ask("nothing", {});
  ask("too few assignments", {{name("a"), 4, Brokers{{1}}}});
  ask("too many assignments", {{name("a"), 3, Brokers{{1}, {1}}}});
  ask("unknown broker", {{name("a"), 3, Brokers{{7}}}});
  ask("no broker", {{name("a"), 3, Brokers{{}}}});
  ask("broker twice", {{name("a"), 3, Brokers{{1, 1}}}});
  ask("assigned", {{name("a"), 3, Brokers{{1}}}});
  ask("more", {{name("b"), 5, std::nullopt}});
}

}  // namespace

void compare_topics(Comparison& c) {
  c.in_versions<CreateTopicsRequest>([&](int16_t v) {
    compare_creating(c, v);
    compare_assignments(c, v);
    compare_creation_configs(c, v);
  });
  c.in_versions<DeleteTopicsRequest>([&](int16_t v) { compare_deleting(c, v); });
  c.in_versions<CreatePartitionsRequest>([&](int16_t v) { compare_growing(c, v); });
}

}  // namespace millrace::differential
