// The raw client: sends prebuilt batches and discards what it fetches, so that a fast broker and not the
// client is what gets measured. One thread. Prints one JSON object.
//
//   bench_client produce      --broker HOST:PORT --topic T [...]   as fast as the broker acknowledges
//   bench_client consume      --broker HOST:PORT --topic T [...]   as fast as the broker serves
//   bench_client end-to-end   --broker HOST:PORT --topic T [...]   latencies at a fixed rate
//   bench_client await        --broker HOST:PORT                   until the first answered Metadata request
//   bench_client await-topic  --broker HOST:PORT --topic T [...]   until all its partitions are served
//
// --server-pid is the process whose CPU time is measured. The other options are those of the structs in
// load.h, produce_load.h and end_to_end.h. `await` prints when the answer came, in ns of CLOCK_MONOTONIC.
#include <cstdio>

#include "protocol/error_code.h"
#include "protocol/messages/fetch.h"
#include "protocol/messages/metadata.h"
#include "tests/bench/arguments.h"
#include "tests/bench/consume_load.h"
#include "tests/bench/end_to_end.h"
#include "tests/bench/produce_load.h"
#include "tests/bench/request.h"
#include "tools/json.h"

namespace millrace::bench {
namespace {

using tools::Json;

constexpr int16_t kMetadataVersion = 12;
constexpr const char* kModes = "the modes are produce, consume, end-to-end, await, await-topic";

void read_load(Arguments& arguments, LoadOptions& options) {
  options.broker = arguments.text("broker");
  options.topic = arguments.text("topic");
  options.partitions = static_cast<int32_t>(arguments.number("partitions", options.partitions));
  options.connections =
      static_cast<size_t>(arguments.number("connections", static_cast<int64_t>(options.connections)));
  options.server_pid = static_cast<pid_t>(arguments.number("server-pid", 0));
  options.warmup_ms = arguments.number("warmup-ms", options.warmup_ms);
  options.measure_ms = arguments.number("measure-ms", options.measure_ms);
  options.max_bytes = arguments.number("max-bytes", options.max_bytes);
}

LoadResult produce(Arguments& arguments) {
  ProduceOptions options;
  read_load(arguments, options);
  BatchShape& shape = options.shape;
  shape.record_bytes = static_cast<size_t>(arguments.number("record-bytes", 100));
  shape.batch_bytes = static_cast<size_t>(arguments.number("batch-bytes", 16 << 10));
  shape.records = static_cast<int32_t>(arguments.number("batch-records", 0));
  const auto codec = protocol::compression_by_name(arguments.text("codec", "none"));
  if (!codec) throw std::runtime_error("no such codec");
  shape.compression = *codec;
  options.depth = static_cast<size_t>(arguments.number("depth", static_cast<int64_t>(options.depth)));
  options.partitions_per_request =
      static_cast<int32_t>(arguments.number("partitions-per-request", options.partitions_per_request));
  options.idempotent = arguments.number("idempotent", 0) != 0;
  arguments.refuse_unknown();
  return run_produce(options);
}

LoadResult consume(Arguments& arguments) {
  LoadOptions options;
  read_load(arguments, options);
  const bool once = arguments.number("once", 0) != 0;
  arguments.refuse_unknown();
  return run_consume(options, once);
}

LoadResult end_to_end(Arguments& arguments) {
  EndToEndOptions options;
  read_load(arguments, options);
  options.rate = arguments.number("rate", options.rate);
  options.record_bytes = static_cast<size_t>(arguments.number("record-bytes", 1024));
  options.readers = static_cast<size_t>(arguments.number("readers", 1));
  options.commits = arguments.number("commits", 0) != 0;
  arguments.refuse_unknown();
  return run_end_to_end(options);
}

Json as_json(const LoadResult& result) {
  Json json = Json::object();
  json.set("records", result.records).set("bytes", result.bytes).set("requests", result.requests);
  json.set("seconds", result.seconds).set("all_records", result.all_records);
  json.set("user_s", result.cpu.user_s).set("system_s", result.cpu.system_s);
  json.set("p50_us", result.latency.percentile_us(0.5)).set("p99_us", result.latency.percentile_us(0.99));
  json.set("max_us", result.latency.max_us());
  return json;
}

Buffer metadata_frame() {
  protocol::MetadataRequest request;
  request.topics.emplace();
  return make_frame(request, kMetadataVersion);
}

int64_t await_answer(Arguments& arguments) {
  const std::string broker = arguments.text("broker");
  const Buffer frame = metadata_frame();
  const auto knows_itself = [](const protocol::MetadataResponse& answer) { return !answer.brokers.empty(); };
  return await(
      broker, [&] { return ask<protocol::MetadataResponse>(broker, frame, kMetadataVersion, knows_itself); });
}

int64_t await_topic(Arguments& arguments) {
  LoadOptions options;
  read_load(arguments, options);
  std::vector<FetchPart> parts;
  for (int32_t i = 0; i < options.partitions; ++i) parts.push_back({.partition = i, .offset = 0});
  const Buffer frame = make_fetch_frame(options.topic, parts, 0);
  const auto all_served = [](const protocol::FetchResponse& answer) {
    for (const auto& topic : answer.responses) {
      for (const auto& partition : topic.partitions) {
        if (partition.error_code != ErrorCode::kNone) return false;
      }
    }
    return !answer.responses.empty();
  };
  return await(options.broker, [&] {
    return ask<protocol::FetchResponse>(options.broker, frame, kFetchVersion, all_served);
  });
}

void run(const std::string& mode, Arguments arguments) {
  Json json = Json::object();
  if (mode == "produce") {
    json = as_json(produce(arguments));
  } else if (mode == "consume") {
    json = as_json(consume(arguments));
  } else if (mode == "end-to-end") {
    json = as_json(end_to_end(arguments));
  } else if (mode == "await") {
    json.set("answered_ns", await_answer(arguments));
  } else if (mode == "await-topic") {
    json.set("served_ns", await_topic(arguments));
  } else {
    throw std::runtime_error(kModes);
  }
  std::puts(json.dump().c_str());
}

}  // namespace
}  // namespace millrace::bench

int main(int argc, char** argv) {
  using namespace millrace::bench;
  return run_mode("bench_client", kModes, run, argc, argv);
}
