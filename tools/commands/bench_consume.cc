// millrace bench consume: how fast a topic gives its records.
#include <fmt/format.h>

#include "protocol/record_batch.h"
#include "tools/benchmark.h"
#include "tools/client/fetcher.h"
#include "tools/commands/rows.h"
#include "tools/connect.h"
#include "tools/interrupt.h"
#include "tools/progress.h"
#include "tools/quantity.h"
#include "tools/timestamp.h"

namespace millrace::tools {
namespace {

constexpr std::string_view kName = "bench consume";
constexpr int64_t kWaitMs = 200;
constexpr size_t kDecompressLimit = 1u << 30;

struct Load {
  Range range;
  int64_t count = INT64_MAX;
  int64_t duration_ms = 0;
  // Decompress and read every record, instead of counting by the batches' headers.
  bool decode = false;
  FetchOptions fetch;
};

Load read_load(const Arguments& arguments) {
  Load load;
  load.range = parse_range(arguments.text("offset"), wall_clock_ms()).value_or(Range{});
  load.count = arguments.integer("count", INT64_MAX);
  load.duration_ms = parse_duration_ms(arguments.text("duration")).value_or(0);
  load.decode = arguments.has("decode");
  load.fetch.partition_max_bytes = static_cast<int32_t>(
      std::min<int64_t>(parse_size(arguments.text("fetch-size")).value_or(0), INT32_MAX));
  load.fetch.max_bytes = INT32_MAX / 4;
  return load;
}

class ConsumeBenchmark {
 public:
  ConsumeBenchmark(Console& console, const Load& load)
      : load_(load), progress_(console, "records", load.count == INT64_MAX ? 0 : load.count, true) {}

  Result<void> run(Cluster& cluster, const TopicInfo& topic) {
    std::vector<int32_t> numbers;
    for (const PartitionInfo& info : topic.partitions) numbers.push_back(info.partition);
    Result<Offsets> from =
        resolve(cluster, topic.name, numbers, load_.range.from, Isolation::kReadUncommitted);
    if (!from) return std::unexpected(from.error());
    Result<Offsets> to =
        resolve(cluster, topic.name, numbers, load_.range.to.value_or(Position{Position::Kind::kEnd}),
                Isolation::kReadUncommitted);
    if (!to) return std::unexpected(to.error());
    Fetcher fetcher(cluster, topic, load_.fetch);
    for (const int32_t number : numbers) {
      if ((*from)[number] < (*to)[number]) {
        fetcher.seek(number, (*from)[number]);
      } else {
        to->erase(number);
      }
    }
    const int64_t start_us = steady_us();
    const int64_t stop_us = load_.duration_ms > 0 ? start_us + load_.duration_ms * 1000 : INT64_MAX;
    while (!to->empty() && result_.records < load_.count && steady_us() < stop_us && !interrupted()) {
      Result<std::vector<FetchedData>> fetched = fetcher.poll(kWaitMs);
      if (!fetched) return std::unexpected(fetched.error());
      // One answer holds several partitions, and counts once.
      if (!fetched->empty()) result_.latency.add(fetched->front().latency_us);
      for (const FetchedData& data : *fetched) {
        if (Result<void> taken = take(data); !taken) return taken;
        if (data.next_offset < (*to)[data.partition]) continue;
        fetcher.remove(data.partition);
        to->erase(data.partition);
      }
    }
    progress_.clear();
    result_.seconds = static_cast<double>(steady_us() - start_us) / 1e6;
    return {};
  }

  const BenchmarkResult& result() const { return result_; }

 private:
  Result<void> take(const FetchedData& data) {
    if (data.error != ErrorCode::kNone)
      return fail(data.error, fmt::format("partition {}: {}", data.partition, error_name(data.error)));
    int64_t records = 0;
    Result<void> decoded;
    const Result<size_t> walked =
        protocol::for_each_batch(data.records, [&](const protocol::BatchHeader& header, Bytes batch) {
          records += header.record_count;
          if (load_.decode)
            decoded = protocol::for_each_record(batch, kDecompressLimit,
                                                [](const protocol::RecordView&) { return true; });
          return decoded.has_value();
        });
    if (!walked) return std::unexpected(walked.error());
    if (!decoded) return decoded;
    result_.records += records;
    result_.bytes += static_cast<int64_t>(data.records.size());
    progress_.add(records, static_cast<int64_t>(data.records.size()));
    return {};
  }

  Load load_;
  Progress progress_;
  BenchmarkResult result_;
};

int run(const Arguments& arguments, Console& console) {
  const Load load = read_load(arguments);
  const std::unique_ptr<Cluster> cluster = connect(arguments, console, kName);
  if (!cluster) return kExitFailed;
  const InterruptScope interrupts;
  ConsumeBenchmark benchmark(console, load);
  const Result<TopicInfo> topic = cluster->topic(arguments.text("topic"));
  const Result<void> done = topic ? benchmark.run(*cluster, *topic) : std::unexpected(topic.error());
  if (!done) {
    console.complain(kName, done.error().message);
    return kExitFailed;
  }
  if (wants_json(arguments)) {
    Json json = as_json(benchmark.result());
    json.set("topic", arguments.text("topic")).set("decoded", load.decode);
    json.set("fetch_bytes", int64_t{load.fetch.partition_max_bytes});
    console.write(json.dump(2) + "\n");
  } else {
    console.write(as_table(benchmark.result(), "From a fetch to its answer", console.colour_out));
  }
  return kExitDone;
}

}  // namespace

Command bench_consume_command() {
  return {.path = "bench consume",
          .summary = "Measure how fast a topic gives its records",
          .details =
              std::string(kPositionHelp) + std::string(kRangeHelp) +
              "\nRecords are counted by their batches' headers; --decode also decompresses and reads each.\n"
              "Whole batches count, so a range may count a few records more.\n",
          .options = with_connection({
              topic_argument(),
              {.names = "-o,--offset",
               .value = "POSITION",
               .help = "Where to start, or a range; see below",
               .fallback = "start",
               .check = range_value()},
              {.names = "-c,-n,--count",
               .aliases = "--messages,--num-records",
               .value = "N",
               .help = "Stop after N records",
               .check = integer(1, INT64_MAX)},
              {.names = "-d,--duration",
               .value = "DURATION",
               .help = "Stop after this time",
               .check = duration_value()},
              {.names = "--decode", .help = "Decompress and read every record"},
              {.names = "--fetch-size",
               .value = "SIZE",
               .help = "Most bytes per partition and fetch",
               .fallback = "1M",
               .check = size_value(1)},
              output_option(),
          }),
          .run = run};
}

}  // namespace millrace::tools
