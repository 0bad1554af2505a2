#include "tests/differential/requests.h"
#include "tests/differential/scenarios.h"

namespace millrace::differential {
namespace {

using namespace protocol;

// Batches whose times go up, then one that is older, then one with the largest twice.
void fill(Comparison& c) {
  set_up(c, {{"off", 2}, {"off-append-time", 1, 1, {}, {{"message.timestamp.type", "LogAppendTime"}}}});
  append(c, "off", 0, batch({.records = 3, .time = 0, .time_step = 10}));
  append(c, "off", 0, batch({.records = 3, .time = 100, .time_step = 10}));
  append(c, "off", 0, batch({.records = 3, .time = 50, .time_step = 0}));
  append(c, "off", 0, batch({.records = 3, .time = 200, .time_step = 0}));
  BatchSketch gzip{.records = 4, .time = 150, .time_step = 25};
  gzip.options.compression = Compression::kGzip;
  append(c, "off", 0, batch(gzip));
  append(c, "off-append-time", 0, batch({.records = 3}));
}

void compare_listing(Comparison& c, int16_t v) {
  const auto ask = [&](const std::string& step, const std::string& topic, int32_t partition,
                       int64_t timestamp, int8_t isolation_level = 0) {
    c.ask(step, v, [&](Call& call) {
      return list_offsets_request(call, topic, partition, timestamp, isolation_level);
    });
  };
  for (int64_t special = -1; special >= -9; --special) {
    ask("special " + std::to_string(special), "off", 0, special);
    ask("empty, special " + std::to_string(special), "off", 1, special);
    if (v >= 2) ask("committed, special " + std::to_string(special), "off", 0, special, 1);
  }
  for (const int64_t time : {-1000, -1,  0,   1,   5,   10,  20,  21,  50,  99,  100,   101,
                             120,   121, 149, 150, 151, 199, 200, 201, 225, 226, 100000})
    ask("time " + std::to_string(time), "off", 0, kTime_ms + time);
  ask("time 0", "off", 0, 0);
  ask("time in an empty partition", "off", 1, kTime_ms);
  ask("time before appending", "off-append-time", 0, kTime_ms);
  ask("time in the future", "off-append-time", 0, int64_t{1} << 50);
  ask("unknown partition", "off", 2, -1);
  ask("negative partition", "off", -1, -1);
  ask("unknown topic", "off-none", 0, -1);
  ask("invalid topic", "a b", 0, -1);
  if (v >= 2) ask("isolation level 2", "off", 0, -1, 2);
  if (v >= 4) {
    for (const int32_t epoch : {0, 1, 7, -2})
      c.ask("leader epoch " + std::to_string(epoch), v,
            [&](Call& call) { return list_offsets_request(call, "off", 0, -1, 0, epoch); });
  }
  for (const int32_t replica : {0, -2, 1})
    c.ask("as replica " + std::to_string(replica), v,
          [&](Call& call) { return list_offsets_request(call, "off", 0, -1, 0, -1, replica); });
  c.ask("nothing", v, [](Call&) { return ListOffsetsRequest{.replica_id = -1}; });
  c.ask("the same twice", v, [](Call& call) {
    ListOffsetsRequest request = list_offsets_request(call, "off", 0, -1);
    std::vector parts(2, request.topics[0].partitions[0]);
    parts[1].timestamp = -2;
    request.topics[0].partitions = call.arena.copy(parts);
    return request;
  });
}

void compare_leader_epochs(Comparison& c) {
  c.in_versions<OffsetForLeaderEpochRequest>([&](int16_t v) {
    const auto ask = [&](const std::string& step, const std::string& topic, int32_t partition, int32_t epoch,
                         int32_t current = -1) {
      c.ask(step, v, [&](Call& call) {
        OffsetForLeaderEpochRequest::Topic::Partition part;
        part.partition = partition;
        part.current_leader_epoch = current;
        part.leader_epoch = epoch;
        OffsetForLeaderEpochRequest::Topic asked;
        asked.topic = call.arena.copy(topic);
        asked.partitions = call.arena.copy(std::vector{part});
        OffsetForLeaderEpochRequest request;
        if (v >= 3) request.replica_id = -1;
        request.topics = call.arena.copy(std::vector{asked});
        return request;
      });
    };
    for (const int32_t epoch : {0, 1, 5, -1, -2}) {
      ask("epoch " + std::to_string(epoch), "off", 0, epoch);
      ask("empty, epoch " + std::to_string(epoch), "off", 1, epoch);
    }
    for (const int32_t current : {0, 1, 9})
      ask("current epoch " + std::to_string(current), "off", 0, 0, current);
    ask("unknown partition", "off", 7, 0);
    ask("unknown topic", "off-none", 0, 0);
  });
}

void compare_deleting(Comparison& c) {
  c.in_versions<DeleteRecordsRequest>([&](int16_t v) {
    const std::string topic = "trim-" + std::to_string(v);
    set_up(c, {{topic, 2}, {topic + "-compact", 1, 1, {}, {{"cleanup.policy", "compact"}}}});
    for (int i = 0; i < 3; ++i) append(c, topic, 0, batch({.records = 5, .time = 10 * i}));
    append(c, topic + "-compact", 0, batch({.records = 5}));
    const auto ask = [&](const std::string& step, const std::string& name, int32_t partition,
                         int64_t offset) {
      c.ask(step, v, [&](Call& call) {
        DeleteRecordsRequest::Topic asked;
        asked.name = call.arena.copy(name);
        asked.partitions = call.arena.copy(std::vector<DeleteRecordsRequest::Topic::Partition>{
            {.partition_index = partition, .offset = offset}});
        DeleteRecordsRequest request;
        request.topics = call.arena.copy(std::vector{asked});
        request.timeout_ms = 10'000;
        return request;
      });
    };
    const auto listing = [&](const std::string& step) {
      for (const int64_t timestamp : {int64_t{-2}, int64_t{-1}, int64_t{-3}, kTime_ms})
        c.ask("after " + step + " " + std::to_string(timestamp) + ", v" + std::to_string(v), 7,
              [&](Call& call) { return list_offsets_request(call, topic, 0, timestamp); });
    };
    for (const int64_t offset : {0, 3, 2, 3, 5, 16, -2, 7}) {
      ask("before " + std::to_string(offset), topic, 0, offset);
    }
    listing("trimming");
    ask("all", topic, 0, -1);
    listing("trimming all");
    ask("all of an empty one", topic, 1, -1);
    ask("compacted", topic + "-compact", 0, 2);
    ask("unknown partition", topic, 2, 0);
    ask("unknown topic", "trim-none", 0, 0);
    ask("invalid topic", "a b", 0, 0);
    append(c, topic, 0, batch({.records = 2, .time = 500}));
    listing("appending again");
    c.ask("fetched after trimming, v" + std::to_string(v), 12,
          [&](Call& call) { return fetch_request(call, {{.topic = topic, .offset = 15}}); });
  });
}

}  // namespace

void compare_offsets(Comparison& c) {
  fill(c);
  c.in_versions<ListOffsetsRequest>([&](int16_t v) { compare_listing(c, v); });
  compare_leader_epochs(c);
  compare_deleting(c);
}

}  // namespace millrace::differential
