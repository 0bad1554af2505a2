#include "tests/differential/requests.h"
#include "tests/differential/scenarios.h"

namespace millrace::differential {
namespace {

using namespace protocol;

constexpr int kBatches = 5;
constexpr int kRecords = 4;  // in each batch

// Five batches of four records in partitions 0 and 1, none in 2.
void fill(Comparison& c, const std::string& topic) {
  set_up(c, {{topic, 3}});
  for (int i = 0; i < kBatches; ++i) {
    for (const int32_t partition : {0, 1})
      append(c, topic, partition, batch({.records = kRecords, .time = 100 * i, .value_size = 100}));
  }
}

void compare_offsets_of(Comparison& c, int16_t v, const std::string& topic) {
  const auto ask = [&](const std::string& step, const std::vector<FetchSketch>& wanted,
                       FetchLimits limits = {}) {
    c.ask(step, v, [&](Call& call) { return fetch_request(call, wanted, limits); });
  };
  for (const int64_t offset : {0, 1, 3, 4, 15, 16, 19, 20, 21, 1000, -1, -2}) {
    ask("offset " + std::to_string(offset), {{.topic = topic, .offset = offset}});
  }
  ask("empty partition", {{.topic = topic, .partition = 2}});
  ask("empty partition, offset 1", {{.topic = topic, .partition = 2, .offset = 1}});
  ask("unknown partition", {{.topic = topic, .partition = 3}});
  ask("negative partition", {{.topic = topic, .partition = -1}});
  if (v < 13) {
    ask("unknown topic", {{.topic = "fetch-none"}});
    ask("invalid topic", {{.topic = "a b"}});
  } else {
    ask("zero id", {{.topic = "fetch-none"}});
    c.ask("unknown id", v, [&](Call& call) {
      FetchRequest request = fetch_request(call, {{.topic = topic}});
      request.topics[0].topic_id = Uuid::from_random(7, 8);
      return request;
    });
    c.ask("known and unknown id", v, [&](Call& call) {
      FetchRequest request = fetch_request(call, {{.topic = topic}, {.topic = topic, .partition = 1}});
      request.topics[0].topic_id = Uuid::from_random(7, 8);
      return request;
    });
  }
  ask("nothing", {});
  ask("committed only", {{.topic = topic}}, {.isolation_level = 1});
  ask("committed only, at the end", {{.topic = topic, .offset = 20}}, {.isolation_level = 1});
  ask("isolation level 2", {{.topic = topic}}, {.isolation_level = 2});
  ask("two partitions", {{.topic = topic, .partition = 1, .offset = 8}, {.topic = topic}});
  ask("the same twice", {{.topic = topic}, {.topic = topic, .offset = 16}});
  ask("good and out of range", {{.topic = topic, .offset = 99}, {.topic = topic, .partition = 1}});
  ask("wait at the end", {{.topic = topic, .offset = 20}}, {.max_wait_ms = 50, .min_bytes = 1});
  ask("wait for more than there is", {{.topic = topic}}, {.max_wait_ms = 50, .min_bytes = 1 << 20});
  ask("negative wait", {{.topic = topic, .offset = 20}}, {.max_wait_ms = -1, .min_bytes = 1});
  ask("wait with an error", {{.topic = topic, .offset = 50}}, {.max_wait_ms = 20000, .min_bytes = 1});
}

void compare_sizes(Comparison& c, int16_t v, const std::string& topic) {
  const auto size = static_cast<int32_t>(batch({.records = kRecords, .value_size = 100}).size());
  const std::vector<int32_t> limits = {0, 1, size - 1, size, size + 1, 2 * size - 1, 2 * size, 5 * size, -1};
  for (const int32_t limit : limits) {
    c.ask("partition limit " + std::to_string(limit), v, [&](Call& call) {
      return fetch_request(
          call, {{.topic = topic, .max_bytes = limit}, {.topic = topic, .partition = 1, .max_bytes = limit}});
    });
    c.ask("limit " + std::to_string(limit), v, [&](Call& call) {
      return fetch_request(call, {{.topic = topic}, {.topic = topic, .partition = 1}}, {.max_bytes = limit});
    });
  }
  c.ask("limit within the second partition", v, [&](Call& call) {
    return fetch_request(call, {{.topic = topic}, {.topic = topic, .partition = 1}}, {.max_bytes = 7 * size});
  });
  c.ask("empty first, small limit", v, [&](Call& call) {
    return fetch_request(call, {{.topic = topic, .partition = 2}, {.topic = topic, .max_bytes = 1}});
  });
  c.ask("from within a batch, small limit", v,
        [&](Call& call) { return fetch_request(call, {{.topic = topic, .offset = 6, .max_bytes = 1}}); });
}

void compare_epochs(Comparison& c, int16_t v, const std::string& topic) {
  if (v >= 9) {
    for (const int32_t epoch : {0, 1, 9, -1, -2}) {
      c.ask("leader epoch " + std::to_string(epoch), v,
            [&](Call& call) { return fetch_request(call, {{.topic = topic, .leader_epoch = epoch}}); });
    }
  }
  if (v < 12) return;
  for (const int32_t epoch : {0, 1, 5, -1}) {
    for (const int64_t offset : {0, 8, 20, 25}) {
      c.ask("last fetched epoch " + std::to_string(epoch) + " at " + std::to_string(offset), v,
            [&](Call& call) {
              return fetch_request(call, {{.topic = topic, .offset = offset, .last_fetched_epoch = epoch}});
            });
    }
  }
}

void compare_sessions(Comparison& c, int16_t v, const std::string& topic) {
  const std::string session = "fetch session";
  const auto note = [&](Peer& peer, const FetchResponse& response) {
    if (response.session_id != 0) peer.chosen[session] = response.session_id;
  };
  const auto ask = [&](const std::string& step, const std::vector<FetchSketch>& wanted, int32_t epoch,
                       std::vector<std::pair<std::string, int32_t>> forgotten = {}) {
    const auto build = [&](Call& call) {
      const auto id = epoch == 0 ? 0 : static_cast<int32_t>(call.peer.chosen[session]);
      return fetch_request(call, wanted, {.session_id = id, .session_epoch = epoch}, forgotten);
    };
    c.ask("session: " + step, v, build, note);
  };
  const FetchSketch first{.topic = topic, .offset = 16}, second{.topic = topic, .partition = 1, .offset = 16},
      empty{.topic = topic, .partition = 2};
  ask("begins", {first, second, empty}, 0);
  ask("goes on", {}, 1);
  ask("moves on", {{.topic = topic, .offset = 20}}, 2);
  ask("nothing new for one", {}, 3);
  append(c, topic, 2, batch({.records = 2}));
  ask("new records", {}, 4);
  ask("forgets", {}, 5, {{topic, 1}});
  ask("forgets what it doesn't have", {}, 6, {{topic, 1}, {"fetch-none", 0}});
  ask("adds", {second}, 7);
  ask("adds an unknown partition", {{.topic = topic, .partition = 9}}, 8);
  ask("goes on with an unknown partition", {}, 9);
  ask("out of range", {{.topic = topic, .offset = 999}}, 10);
  ask("still out of range", {}, 11);
  ask("old epoch", {}, 5);
  ask("epoch beyond", {}, 50);
  ask("goes on after a wrong epoch", {}, 12);
  ask("ends", {first}, -1);
  ask("goes on after its end", {}, 13);
  ask("begins again", {first}, 0);
  ask("forgets all", {}, 1, {{topic, 0}});
  ask("goes on without partitions", {}, 2);
  ask("begins with nothing", {}, 0);
  c.ask("session: unknown id", v, [&](Call& call) {
    return fetch_request(call, {first}, {.session_id = 123456789, .session_epoch = 1});
  });
  c.ask("session: unknown id, epoch 0", v, [&](Call& call) {
    return fetch_request(call, {first}, {.session_id = 123456789, .session_epoch = 0});
  });
  c.ask("session: no id, epoch 1", v,
        [&](Call& call) { return fetch_request(call, {first}, {.session_id = 0, .session_epoch = 1}); });
}

void compare_deleted(Comparison& c, int16_t v, const std::string& topic) {
  c.ask_each(
      2,
      [&](Call& call) {
        DeleteRecordsRequest::Topic::Partition partition{.partition_index = 0, .offset = 6};
        DeleteRecordsRequest::Topic asked;
        asked.name = call.arena.copy(topic);
        asked.partitions = call.arena.copy(std::vector{partition});
        DeleteRecordsRequest request;
        request.topics = call.arena.copy(std::vector{asked});
        request.timeout_ms = 10'000;
        return request;
      },
      [](Peer&, const auto&) {});
  for (const int64_t offset : {0, 5, 6, 7, 8}) {
    c.ask("log start 6, offset " + std::to_string(offset), v,
          [&](Call& call) { return fetch_request(call, {{.topic = topic, .offset = offset}}); });
  }
}

}  // namespace

void compare_fetch(Comparison& c) {
  c.in_versions<FetchRequest>([&](int16_t v) {
    const std::string topic = "fetch-" + std::to_string(v);
    fill(c, topic);
    compare_offsets_of(c, v, topic);
    compare_sizes(c, v, topic);
    compare_epochs(c, v, topic);
    if (v >= 7) compare_sessions(c, v, topic);
    compare_deleted(c, v, topic);
  });
}

}  // namespace millrace::differential
