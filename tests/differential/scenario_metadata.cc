#include "tests/differential/requests.h"
#include "tests/differential/scenarios.h"

namespace millrace::differential {
namespace {

using namespace protocol;
using Names = std::vector<std::string>;

MetadataRequest by_name(Call& call, const Names& names, bool auto_create = false, bool operations = false) {
  std::vector<MetadataRequest::Topic> topics;
  for (const std::string& name : names) {
    MetadataRequest::Topic& topic = topics.emplace_back();
    topic.name = call.arena.copy(name);
  }
  MetadataRequest request;
  request.topics = call.arena.copy(topics);
  request.allow_auto_topic_creation = call.version < 4 || auto_create;
  if (call.version >= 8) request.include_topic_authorized_operations = operations;
  if (call.version >= 8 && call.version <= 10) request.include_cluster_authorized_operations = operations;
  return request;
}

MetadataRequest by_id(Call& call, const std::vector<Uuid>& ids) {
  std::vector<MetadataRequest::Topic> topics;
  for (const Uuid& id : ids) topics.push_back({.topic_id = id});
  MetadataRequest request;
  request.topics = call.arena.copy(topics);
  request.allow_auto_topic_creation = false;
  return request;
}

void compare_ids(Comparison& c, int16_t v) {
  const Uuid unknown = Uuid::from_random(1, 2);
  c.ask("by id", v, [&](Call& call) { return by_id(call, {call.peer.topic_id("meta-a")}); });
  c.ask("by unknown id", v, [&](Call& call) { return by_id(call, {unknown}); });
  c.ask("by known and unknown id", v, [&](Call& call) {
    return by_id(call, {call.peer.topic_id("meta-b"), unknown});
  });
  c.ask("by the same id twice", v, [&](Call& call) {
    return by_id(call, {call.peer.topic_id("meta-a"), call.peer.topic_id("meta-a")});
  });
  c.ask("by zero id", v, [&](Call& call) { return by_id(call, {Uuid{}}); });
  c.ask("by id and by name", v, [&](Call& call) {
    MetadataRequest request = by_id(call, {call.peer.topic_id("meta-a"), Uuid{}});
    request.topics->back().name = "meta-b";
    return request;
  });
  c.ask("by id and name at once", v, [&](Call& call) {
    MetadataRequest request = by_id(call, {call.peer.topic_id("meta-a")});
    request.topics->back().name = "meta-b";
    return request;
  });
}

void compare_creation(Comparison& c, int16_t v) {
  const std::string topic = "meta-auto-" + std::to_string(v);
  // Apache Kafka answers with an error and creates behind it; what counts is what comes out in the end.
  // Version by version asks for two names: the first answer, and the topic that there is then.
  c.ask("creates", v, [&](Call& call) { return by_name(call, {topic}, true); });
  c.ask("created", v, [&](Call& call) { return by_name(call, {topic}); });
  c.ask("creates no invalid name", v, [&](Call& call) { return by_name(call, {"a b", ""}, true); });
  if (v >= 4) {
    c.ask("creates nothing unasked", v, [&](Call& call) { return by_name(call, {topic + "-no"}); });
    c.ask("created nothing", v, [&](Call& call) { return by_name(call, {topic + "-no"}); });
  }
}

void compare_pages(Comparison& c) {
  const auto request = [](Call& call, const Names& names, int32_t limit, const std::string& topic = {},
                          int32_t partition = 0) {
    std::vector<DescribeTopicPartitionsRequest::Topic> topics;
    for (const std::string& name : names) topics.push_back({.name = call.arena.copy(name)});
    DescribeTopicPartitionsRequest request;
    request.topics = call.arena.copy(topics);
    request.response_partition_limit = limit;
    if (!topic.empty()) request.cursor.emplace(call.arena.copy(topic), partition);
    return request;
  };
  const Names both = {"meta-b", "meta-a"};
  c.in_versions<DescribeTopicPartitionsRequest>([&](int16_t v) {
    const auto ask = [&](const std::string& step, const Names& names, int32_t limit,
                         const std::string& topic = {}, int32_t partition = 0) {
      c.ask(step, v, [&](Call& call) { return request(call, names, limit, topic, partition); });
    };
    ask("two topics", both, 2000);
    for (const int32_t limit : {0, -1, 1, 2, 3, 4, 5}) ask("limit " + std::to_string(limit), both, limit);
    ask("from the second topic", both, 2000, "meta-b", 1);
    ask("from the second topic, one", both, 1, "meta-b", 1);
    ask("from within the first", both, 2, "meta-a", 1);
    ask("from behind the first", both, 2, "meta-a", 3);
    ask("from far behind the first", both, 2, "meta-a", 9);
    ask("from a negative partition", both, 2, "meta-a", -1);
    ask("from behind the last", both, 2000, "meta-z", 0);
    ask("from an unknown topic between", both, 2000, "meta-aa", 0);
    ask("unknown", {"meta-none"}, 2000);
    ask("unknown, known, invalid", {"meta-none", "meta-a", "a b"}, 2000);
    ask("the same twice", {"meta-a", "meta-a"}, 2000);
    ask("all topics", {}, 2000);
    ask("all topics, first page", {}, 2);
    ask("all topics, from a cursor", {}, 2000, "meta-b", 1);
  });
}

}  // namespace

void compare_metadata(Comparison& c) {
  set_up(c, {{"meta-a", 3}, {"meta-b", 2}});
  compare_pages(c);
  c.in_versions<MetadataRequest>([&](int16_t v) {
    c.ask("one topic", v, [](Call& call) { return by_name(call, {"meta-a"}); });
    c.ask("two topics", v, [](Call& call) { return by_name(call, {"meta-b", "meta-a"}); });
    c.ask("the same twice", v, [](Call& call) { return by_name(call, {"meta-a", "meta-a"}); });
    c.ask("no topic", v, [](Call& call) { return by_name(call, {}); });
    if (v >= 1) c.ask("all topics", v, [](Call&) { return MetadataRequest{}; });
    if (v >= 4) {
      c.ask("unknown", v, [](Call& call) { return by_name(call, {"meta-none"}); });
      c.ask("unknown and known", v, [](Call& call) { return by_name(call, {"meta-none", "meta-a"}); });
      const Names invalid = {"", ".", "..", "a b", "ä", std::string(249, 'x'), std::string(250, 'x')};
      for (size_t i = 0; i < invalid.size(); ++i)
        c.ask("invalid name " + std::to_string(i), v,
              [&](Call& call) { return by_name(call, {invalid[i]}); });
    }
    if (v >= 8)
      c.ask("with operations", v, [](Call& call) {
        return by_name(call, {"meta-a", "meta-none"}, false, true);
      });
    if (v >= 12) compare_ids(c, v);
    if (v == 10 || v == 11) {
      c.ask("by id", v, [](Call& call) { return by_id(call, {call.peer.topic_id("meta-a")}); });
      c.ask("by no name", v, [](Call& call) { return by_id(call, {Uuid{}}); });
    }
    compare_creation(c, v);
  });
}

}  // namespace millrace::differential
