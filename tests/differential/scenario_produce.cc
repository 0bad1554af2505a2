#include <array>
#include <cstring>

#include "protocol/crc32c.h"
#include "tests/differential/requests.h"
#include "tests/differential/scenarios.h"

namespace millrace::differential {
namespace {

using namespace protocol;

constexpr std::array kCodecs = {Compression::kNone, Compression::kGzip, Compression::kSnappy,
                                Compression::kLz4, Compression::kZstd};
constexpr int16_t kFetchVersion = 12;

// Positions in a batch of what is damaged below.
constexpr size_t kLengthAt = 8, kMagicAt = 16, kCrcAt = 17, kAttributesAt = 21, kLastDeltaAt = 23,
                 kBaseTimeAt = 27, kMaxTimeAt = 35, kCountAt = 57;

template <class Integer>
void put(Buffer& batch, size_t at, Integer value) {
  Writer writer;
  writer.integer(value);
  std::memcpy(batch.data() + at, writer.written().data(), sizeof value);
}

// A new checksum over what was changed.
void seal(Buffer& batch) { put(batch, kCrcAt, crc32c(Bytes(batch).subspan(kAttributesAt))); }

// `change` on a good batch of three records, with a fitting checksum.
Buffer changed(const std::function<void(Buffer&)>& change, const BatchSketch& sketch = {.records = 3}) {
  Buffer out = batch(sketch);
  change(out);
  seal(out);
  return out;
}

class Producing {
 public:
  Producing(Comparison& c, int16_t version, std::string topic)
      : c_(c), version_(version), topic_(std::move(topic)) {}

  void ask(const std::string& step, const std::optional<Buffer>& records, int16_t acks = -1) {
    c_.ask(step, version_, [&](Call& call) { return produce_request(call, topic_, 0, records, acks); });
  }
  // What the log holds in the end.
  void compare_log(const std::string& step) {
    c_.ask("after " + step + ", end", 7,
           [&](Call& call) { return list_offsets_request(call, topic_, 0, -1); });
    c_.ask("after " + step + " v" + std::to_string(version_), kFetchVersion,
           [&](Call& call) { return fetch_request(call, {{.topic = topic_, .max_bytes = 50 << 20}}); });
  }

 private:
  Comparison& c_;
  int16_t version_;
  std::string topic_;
};

void produce_good(Comparison& c, int16_t v) {
  const std::string topic = "good-" + std::to_string(v);
  set_up(c, {{topic}});
  Producing p(c, v, topic);
  for (const Compression codec : kCodecs) {
    BatchSketch sketch{.records = 5, .value_size = 100};
    sketch.options.compression = codec;
    p.ask(std::string(compression_name(codec)), batch(sketch));
  }
  p.ask("one record", batch({}));
  p.ask("null keys", batch({.records = 2, .null_keys = true}));
  p.ask("null values", batch({.records = 2, .null_values = true}));
  p.ask("headers", batch({.records = 2, .with_headers = true}));
  p.ask("times going back", batch({.records = 3, .time = 50, .time_step = -10}));
  p.ask("acks 1", batch({.records = 2}), 1);
  p.ask("acks 0", batch({.records = 2}), 0);
  p.ask("acks all after acks 0", batch({.records = 2}));
  for (const int16_t acks : {2, -2, 100}) p.ask("acks " + std::to_string(acks), batch({}), acks);
  p.ask("base offset of its own", changed([](Buffer& b) { put(b, 0, int64_t{1000}); }));
  p.ask("leader epoch of its own", changed([](Buffer& b) { put(b, 12, int32_t{77}); }));
  p.compare_log("good batches");
}

void produce_bad(Comparison& c, int16_t v) {
  const std::string topic = "bad-" + std::to_string(v);
  set_up(c, {{topic}});
  Producing p(c, v, topic);
  const Buffer good = batch({.records = 3});
  const auto raw = [&](const std::function<void(Buffer&)>& change) {
    Buffer out = good;
    change(out);
    return out;
  };
  // Apache Kafka never answers this: once is enough to wait for it.
  if (v == 9) p.ask("null records", std::nullopt);
  p.ask("empty records", Buffer{});
  p.ask("two batches", concat({good, good}));
  p.ask("wrong crc", raw([](Buffer& b) { b[kCrcAt] ^= std::byte{1}; }));
  p.ask("damaged records", raw([](Buffer& b) { b.back() ^= std::byte{1}; }));
  for (const int magic : {0, 1, 3, -1})
    p.ask("magic " + std::to_string(magic),
          raw([&](Buffer& b) { put(b, kMagicAt, static_cast<int8_t>(magic)); }));
  p.ask("last byte missing", raw([](Buffer& b) { b.pop_back(); }));
  p.ask("header alone", raw([](Buffer& b) { b.resize(BatchHeader::kSize); }));
  p.ask("half a header", raw([](Buffer& b) { b.resize(30); }));
  p.ask("one byte", Buffer(1));
  p.ask("a byte too many", raw([](Buffer& b) { b.push_back(std::byte{0}); }));
  p.ask("garbage behind", concat({good, Buffer(100, std::byte{0xff})}));
  for (const int32_t length : {0, -1, 10, 48, 49, 1 << 30})
    p.ask("length " + std::to_string(length), raw([&](Buffer& b) { put(b, kLengthAt, length); }));
  p.ask("no records, count 0", changed([](Buffer& b) {
          b.resize(BatchHeader::kSize);
          put(b, kLengthAt, int32_t{49});
          put(b, kCountAt, int32_t{0});
          put(b, kLastDeltaAt, int32_t{0});
        }));
  for (const int32_t count : {0, 1, 2, 4, -1, 1 << 30})
    p.ask("count " + std::to_string(count), changed([&](Buffer& b) { put(b, kCountAt, count); }));
  for (const int32_t delta : {0, 1, 3, -1})
    p.ask("last delta " + std::to_string(delta), changed([&](Buffer& b) { put(b, kLastDeltaAt, delta); }));
  for (const int attributes : {5, 6, 7, 0x08, 0x10, 0x20, 0x30, 0x40, 0x80, 0x4000})
    p.ask("attributes " + std::to_string(attributes),
          changed([&](Buffer& b) { put(b, kAttributesAt, static_cast<int16_t>(attributes)); }));
  p.ask("gzip that isn't", changed([](Buffer& b) { put(b, kAttributesAt, int16_t{1}); }));
  p.ask("zstd that isn't", changed([](Buffer& b) { put(b, kAttributesAt, int16_t{4}); }));
  p.ask("max time wrong", changed([](Buffer& b) { put(b, kMaxTimeAt, kTime_ms + 999); }));
  p.ask("no times", changed([](Buffer& b) {
          put(b, kBaseTimeAt, int64_t{-1});
          put(b, kMaxTimeAt, int64_t{-1});
        }));
  p.ask("negative times", changed([](Buffer& b) { put(b, kBaseTimeAt, int64_t{-5}); }));
  p.ask("one record's time negative", batch({.records = 2, .time = -kTime_ms, .time_step = -5}));
  p.ask("record too long", changed([](Buffer& b) { b[BatchHeader::kSize] = std::byte{0x7e}; }));
  p.ask("record too short", changed([](Buffer& b) { b[BatchHeader::kSize] = std::byte{0x02}; }));
  p.ask("second record's offset", changed([](Buffer& b) { b[BatchHeader::kSize + 3] = std::byte{0x04}; }));
  p.ask("far future", batch({.records = 2, .time = int64_t{1} << 50}));
  p.compare_log("bad batches");
}

void produce_configured(Comparison& c, int16_t v) {
  const auto topic = [v](const std::string& what) { return "with-" + what + "-" + std::to_string(v); };
  set_up(c, {{topic("append-time"), 1, 1, {}, {{"message.timestamp.type", "LogAppendTime"}}},
             {topic("small"), 1, 1, {}, {{"max.message.bytes", "300"}}},
             {topic("compact"), 1, 1, {}, {{"cleanup.policy", "compact"}}},
             {topic("bounds"), 1, 1, {}, {{"message.timestamp.before.max.ms", "1000"}}},
             {topic("after"), 1, 1, {}, {{"message.timestamp.after.max.ms", "1000"}}}});
  BatchSketch gzip{.records = 5, .value_size = 100};
  gzip.options.compression = Compression::kGzip;
  const auto run = [&](const std::string& what, const std::vector<std::pair<std::string, Buffer>>& batches) {
    Producing p(c, v, topic(what));
    for (const auto& [step, records] : batches) p.ask(what + ": " + step, records);
    p.compare_log(what);
  };
  run("append-time", {{"plain", batch({.records = 3})},
                      {"gzip", batch(gzip)},
                      {"future", batch({.time = int64_t{1} << 50})}});
  run("small", {{"below", batch({.records = 2})},
                {"at", batch({.value_size = 300 - BatchHeader::kSize - 10})},
                {"beyond", batch({.value_size = 300 - BatchHeader::kSize})},
                {"far beyond", batch({.value_size = 3000})},
                {"compressed below", [] {
                   BatchSketch sketch{.records = 1, .value_size = 5000};
                   sketch.options.compression = Compression::kZstd;
                   return batch(sketch);
                 }()}});
  run("compact", {{"keys", batch({.records = 3})},
                  {"null keys", batch({.records = 3, .null_keys = true})},
                  {"tombstones", batch({.records = 2, .null_values = true})}});
  run("bounds", {{"old", batch({.records = 2, .time = -60'000})}});
  run("after", {{"old", batch({.records = 2, .time = -60'000})},
                {"future", batch({.records = 2, .time = int64_t{1} << 50})}});
}

// compression.type makes the broker compress anew: contents must be equal, bytes can't.
void produce_recompressed(Comparison& c, int16_t v) {
  c.set_batches(BatchComparison::kContents);
  for (const Compression to : kCodecs) {
    const std::string name = to == Compression::kNone ? "uncompressed" : std::string(compression_name(to));
    const std::string topic = "to-" + name + "-" + std::to_string(v);
    set_up(c, {{topic, 1, 1, {}, {{"compression.type", name}}}});
    Producing p(c, v, topic);
    for (const Compression from : kCodecs) {
      BatchSketch sketch{.records = 5, .value_size = 100, .with_headers = true};
      sketch.options.compression = from;
      p.ask(std::string(compression_name(from)) + " to " + name, batch(sketch));
    }
    p.ask("damaged to " + name, changed([](Buffer& b) { b[BatchHeader::kSize + 3] = std::byte{0x04}; }));
    p.compare_log("compressing to " + name);
  }
  c.set_batches(BatchComparison::kBytes);
}

void produce_nowhere(Comparison& c, int16_t v) {
  const std::string topic = "where-" + std::to_string(v);
  set_up(c, {{topic, 2}});
  const auto ask = [&](const std::string& step, const std::string& name, int32_t partition) {
    c.ask(step, v, [&](Call& call) { return produce_request(call, name, partition, batch({})); });
  };
  ask("unknown partition", topic, 2);
  ask("negative partition", topic, -1);
  if (v < 13) {
    ask("unknown topic", "where-none", 0);
    ask("invalid topic", "a b", 0);
    ask("no topic", "", 0);
  } else {
    ask("zero id", "where-none", 0);
    c.ask("unknown id", v, [&](Call& call) {
      ProduceRequest request = produce_request(call, topic, 0, batch({}));
      request.topic_data[0].topic_id = Uuid::from_random(5, 6);
      return request;
    });
  }
  c.ask("transactional id without transaction", v, [&](Call& call) {
    ProduceRequest request = produce_request(call, topic, 0, batch({}));
    request.transactional_id = "nobody";
    return request;
  });
  c.ask("good and bad partitions", v, [&](Call& call) {
    ProduceRequest request = produce_request(call, topic, 0, batch({.records = 2}));
    using Partition = ProduceRequest::Topic::Partition;
    std::vector<Partition> parts(3, request.topic_data[0].partition_data[0]);
    parts[1].index = 1;
    parts[2].index = 5;
    request.topic_data[0].partition_data = call.arena.copy(parts);
    return request;
  });
  c.ask("no topics", v, [&](Call& call) {
    ProduceRequest request = produce_request(call, topic, 0, batch({}));
    request.topic_data = {};
    return request;
  });
  Producing p(c, v, topic);
  p.compare_log("good and bad places");
}

}  // namespace

void compare_produce(Comparison& c) {
  c.in_versions<ProduceRequest>([&](int16_t v) {
    produce_good(c, v);
    produce_bad(c, v);
    produce_configured(c, v);
    // The rest is the same in all versions but where topics are named by id.
    if (v == 3 || v == 7 || v >= 12) produce_recompressed(c, v);
    produce_nowhere(c, v);
  });
}

}  // namespace millrace::differential
