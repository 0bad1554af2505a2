#include "tests/differential/requests.h"
#include "tests/differential/scenarios.h"

namespace millrace::differential {
namespace {

using namespace protocol;

constexpr int16_t kFetchVersion = 12;

struct Sequenced {
  int64_t producer_id = 4711;
  int16_t epoch = 0;
  int32_t sequence = 0;
  int records = 2;
};

Buffer sequenced(const Sequenced& s) {
  BatchSketch sketch{.records = s.records};
  sketch.options.producer_id = s.producer_id;
  sketch.options.producer_epoch = s.epoch;
  sketch.options.base_sequence = s.sequence;
  return batch(sketch);
}

// Apache Kafka has no producer ids to give until its controller answers.
void await_producer_ids(Comparison& c) {
  c.wait_until([&](Peer&) {
    bool ready = true;
    c.ask_each(
        4,
        [](Call&) {
          InitProducerIdRequest request;
          request.transactional_id = std::nullopt;
          request.transaction_timeout_ms = 60'000;
          return request;
        },
        [&](Peer&, const InitProducerIdResponse& response) {
          ready = ready && response.error_code == ErrorCode::kNone;
        });
    return ready;
  });
}

void compare_ids(Comparison& c) {
  await_producer_ids(c);
  c.in_versions<InitProducerIdRequest>([&](int16_t v) {
    const std::string name = "producer " + std::to_string(v);
    const auto ask = [&](const std::string& step, int64_t id, int16_t epoch,
                         std::optional<std::string_view> transactional_id = {}, int32_t timeout_ms = 60000) {
      c.ask(
          step, v,
          [&](Call&) {
            InitProducerIdRequest request;
            request.transactional_id = transactional_id;
            request.transaction_timeout_ms = timeout_ms;
            if (v >= 3) {
              request.producer_id = id;
              request.producer_epoch = epoch;
            }
            return request;
          },
          [&](Peer& peer, const InitProducerIdResponse& response) {
            if (response.producer_id >= 0) peer.chosen[name + " " + step] = response.producer_id;
          });
    };
    ask("new", -1, -1);
    ask("another", -1, -1);
    ask("timeout 0", -1, -1, {}, 0);
    if (v >= 3) {
      ask("with an id", 4711, 3);
      ask("with an epoch only", -1, 3);
      ask("with an id only", 4711, -1);
    }
    ask("no transactional id", -1, -1, "");
  });
}

DescribeProducersRequest producers_of(Call& call, const std::string& topic, std::vector<int32_t> partitions) {
  DescribeProducersRequest::Topic asked;
  asked.name = call.arena.copy(topic);
  asked.partition_indexes = call.arena.copy(partitions);
  DescribeProducersRequest request;
  request.topics = call.arena.copy(std::vector{asked});
  return request;
}

void compare_sequences(Comparison& c, int16_t v) {
  const std::string topic = "seq-" + std::to_string(v);
  set_up(c, {{topic}});
  const auto ask = [&](const std::string& step, const Buffer& records) {
    c.ask(step, v, [&](Call& call) { return produce_request(call, topic, 0, records); });
  };
  ask("first", sequenced({}));
  ask("first again", sequenced({}));
  for (int i = 1; i <= 6; ++i) ask("next " + std::to_string(i), sequenced({.sequence = 2 * i}));
  ask("last again", sequenced({.sequence = 12}));
  ask("fifth last again", sequenced({.sequence = 4}));
  ask("sixth last again", sequenced({.sequence = 2}));
  ask("part of the last", sequenced({.sequence = 13, .records = 1}));
  ask("last and more", sequenced({.sequence = 12, .records = 4}));
  ask("gap", sequenced({.sequence = 20}));
  ask("next after a gap", sequenced({.sequence = 14}));
  ask("newer epoch, wrong sequence", sequenced({.epoch = 1, .sequence = 16}));
  ask("newer epoch", sequenced({.epoch = 1, .sequence = 0}));
  ask("older epoch", sequenced({.epoch = 0, .sequence = 16}));
  ask("newer epoch again", sequenced({.epoch = 1, .sequence = 0}));
  ask("unknown producer, sequence 5", sequenced({.producer_id = 4712, .sequence = 5}));
  ask("unknown producer, sequence 5 again", sequenced({.producer_id = 4712, .sequence = 5}));
  ask("end of the sequence", sequenced({.producer_id = 4713, .sequence = 2147483646}));
  ask("sequence starts again", sequenced({.producer_id = 4713, .sequence = 0}));
  ask("across the end", sequenced({.producer_id = 4714, .sequence = 2147483647, .records = 3}));
  ask("behind the end", sequenced({.producer_id = 4714, .sequence = 2}));
  ask("no sequence", sequenced({.producer_id = 4715, .sequence = -1}));
  ask("no epoch", sequenced({.producer_id = 4716, .epoch = -1}));
  ask("negative sequence", sequenced({.producer_id = 4717, .sequence = -5}));
  ask("sequence without id", sequenced({.producer_id = -1, .epoch = -1, .sequence = 3}));
  ask("two batches",
      concat({sequenced({.producer_id = 4718}), sequenced({.producer_id = 4718, .sequence = 2})}));
  c.ask("after sequences, v" + std::to_string(v), kFetchVersion,
        [&](Call& call) { return fetch_request(call, {{.topic = topic}}); });
  c.ask("known " + std::to_string(v), 0, [&](Call& call) { return producers_of(call, topic, {0}); });
}

}  // namespace

void compare_producers(Comparison& c) {
  compare_ids(c);
  c.in_versions<ProduceRequest>([&](int16_t v) { compare_sequences(c, v); });
  set_up(c, {{"no-producers", 2}});
  c.in_versions<DescribeProducersRequest>([&](int16_t v) {
    c.ask("none", v, [](Call& call) { return producers_of(call, "no-producers", {0, 1}); });
    c.ask("unknown partition", v, [](Call& call) { return producers_of(call, "no-producers", {2, -1}); });
    c.ask("unknown topic", v, [](Call& call) { return producers_of(call, "not-there", {0}); });
    c.ask("invalid topic", v, [](Call& call) { return producers_of(call, "a b", {0}); });
    c.ask("no partitions", v, [](Call& call) { return producers_of(call, "no-producers", {}); });
  });
}

}  // namespace millrace::differential
