// millrace bench produce: how fast a topic takes records. Batches are made beforehand, so that the broker is
// measured and not this program.
#include <fmt/format.h>

#include <random>

#include "tools/benchmark.h"
#include "tools/client/admin.h"
#include "tools/commands/rows.h"
#include "tools/connect.h"
#include "tools/interrupt.h"
#include "tools/produce_options.h"
#include "tools/progress.h"
#include "tools/quantity.h"
#include "tools/timestamp.h"

namespace millrace::tools {
namespace {

constexpr std::string_view kName = "bench produce";
// Different contents, so that a broker that compresses or deduplicates has real work.
constexpr int kDifferentBatches = 16;
constexpr int64_t kDefaultCount = 1'000'000;

struct Load {
  size_t record_bytes = 1024;
  int64_t count = kDefaultCount;
  // 0: none.
  int64_t duration_ms = 0;
  int64_t rate = 0;
  int32_t records_per_batch = 1;
};

struct ReadyBatches {
  std::vector<Buffer> batches;
  int32_t record_count = 0;
};

Load read_load(const Arguments& arguments, const ProducerOptions& options) {
  Load load;
  load.record_bytes = static_cast<size_t>(parse_size(arguments.text("size")).value_or(1024));
  load.duration_ms = parse_duration_ms(arguments.text("duration")).value_or(0);
  load.count = arguments.integer("count", load.duration_ms > 0 ? INT64_MAX : kDefaultCount);
  load.rate = arguments.integer("rate", 0);
  auto records = static_cast<int64_t>(std::max<size_t>(1, options.batch_bytes / (load.record_bytes + 10)));
  // At a limited rate a batch holds what comes together while it lingers.
  if (load.rate > 0) records = std::clamp<int64_t>(load.rate * options.linger_ms / 1000, 1, records);
  load.records_per_batch = static_cast<int32_t>(std::min(records, load.count));
  return load;
}

Result<ReadyBatches> make_batches(const Load& load, const ProducerOptions& options, int32_t record_count,
                                  int count) {
  ReadyBatches ready;
  ready.record_count = record_count;
  std::mt19937_64 random(1);
  constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  protocol::BatchOptions batch_options;
  batch_options.compression = options.compression;
  batch_options.compression_level = options.compression_level;
  std::string value(load.record_bytes, ' ');
  for (int i = 0; i < count; ++i) {
    protocol::BatchBuilder builder(batch_options);
    for (int32_t record = 0; record < record_count; ++record) {
      uint64_t bits = 0;
      for (size_t at = 0; at < value.size(); ++at, bits >>= 6) {
        if (at % 10 == 0) bits = random();
        value[at] = kLetters[bits & 63];
      }
      builder.append(std::nullopt, as_bytes(value), {}, wall_clock_ms());
    }
    Result<Buffer> built = builder.build();
    if (!built) return std::unexpected(built.error());
    ready.batches.push_back(std::move(*built));
  }
  return ready;
}

class ProduceBenchmark {
 public:
  ProduceBenchmark(Console& console, const Load& load)
      : console_(console),
        load_(load),
        progress_(console, "records", load.count == INT64_MAX ? 0 : load.count, true) {}

  void delivered(const Delivery& delivery) {
    if (delivery.error.code == ErrorCode::kNone) {
      result_.records += delivery.record_count;
      result_.bytes += static_cast<int64_t>(delivery.bytes);
      result_.latency.add(delivery.latency_us, delivery.record_count);
      progress_.add(delivery.record_count, static_cast<int64_t>(delivery.bytes));
      return;
    }
    if (result_.failed == 0) {
      progress_.clear();
      console_.complain(kName, fmt::format("partition {}: {}", delivery.partition, delivery.error.message));
    }
    result_.failed += delivery.record_count;
  }

  Result<void> run(Producer& producer, const ProducerOptions& options) {
    const Result<ReadyBatches> ready =
        make_batches(load_, options, load_.records_per_batch, kDifferentBatches);
    if (!ready) return std::unexpected(ready.error());
    const int64_t start_us = steady_us();
    const int64_t stop_us = load_.duration_ms > 0 ? start_us + load_.duration_ms * 1000 : INT64_MAX;
    int64_t sent = 0;
    for (size_t turn = 0; sent < load_.count && !interrupted(); ++turn) {
      int64_t since_us = steady_us();
      if (load_.rate > 0) {
        // Latency counts from when the batch was due, or a slow broker would slow down its own measurement.
        const int64_t due_us = start_us + static_cast<int64_t>(static_cast<double>(sent) * 1e6 /
                                                               static_cast<double>(load_.rate));
        while (steady_us() < due_us && !interrupted()) producer.poll((due_us - steady_us()) / 1000);
        since_us = due_us;
      }
      if (since_us >= stop_us) break;
      const auto partition = static_cast<int32_t>(turn % static_cast<size_t>(producer.partition_count()));
      const int64_t left = load_.count - sent;
      if (left < ready->record_count) {
        Result<ReadyBatches> last = make_batches(load_, options, static_cast<int32_t>(left), 1);
        if (!last) return std::unexpected(last.error());
        (void)producer.send_batch(partition, std::move(last->batches[0]), last->record_count, since_us);
        sent += left;
        break;
      }
      (void)producer.send_batch(partition, ready->batches[turn % ready->batches.size()], ready->record_count,
                                since_us);
      sent += ready->record_count;
    }
    std::optional<int64_t> limit_ms;
    if (interrupted()) limit_ms = options.delivery_timeout_ms;
    clear_interrupt();
    const Result<void> flushed = producer.flush(limit_ms);
    progress_.clear();
    result_.seconds = static_cast<double>(steady_us() - start_us) / 1e6;
    return flushed;
  }

  const BenchmarkResult& result() const { return result_; }

 private:
  Console& console_;
  Load load_;
  Progress progress_;
  BenchmarkResult result_;
};

Result<void> create_if_missing(Cluster& cluster, const Arguments& arguments) {
  if (!arguments.has("create")) return {};
  NewTopic topic;
  topic.name = arguments.text("topic");
  topic.partitions = static_cast<int32_t>(arguments.integer("create"));
  const Result<CreatedTopic> created = create_topic(cluster, topic, false);
  if (created || created.error().code == ErrorCode::kTopicAlreadyExists) return {};
  return std::unexpected(created.error());
}

int run(const Arguments& arguments, Console& console) {
  Result<ProducerOptions> options = read_producer_options(arguments);
  if (!options) {
    console.complain(kName, options.error().message + "\nSee: millrace bench produce --help");
    return kExitUsage;
  }
  // Order matters to nobody here.
  options->keep_order = false;
  options->max_in_flight = static_cast<int>(arguments.integer("in-flight"));
  // As much as is on the way waits besides: more would only measure the queue.
  options->buffer_bytes = static_cast<size_t>(options->max_in_flight) * options->batch_bytes;
  const std::unique_ptr<Cluster> cluster = connect(arguments, console, kName);
  if (!cluster) return kExitFailed;
  const InterruptScope interrupts;
  const Load load = read_load(arguments, *options);
  ProduceBenchmark benchmark(console, load);
  Result<void> done = create_if_missing(*cluster, arguments);
  if (done) {
    Result<std::unique_ptr<Producer>> producer =
        Producer::create(*cluster, arguments.text("topic"), false, *options,
                         [&](const Delivery& d) { benchmark.delivered(d); });
    done = producer ? benchmark.run(**producer, *options) : std::unexpected(producer.error());
  }
  if (!done) {
    console.complain(kName, done.error().message);
    return kExitFailed;
  }
  if (wants_json(arguments)) {
    Json json = as_json(benchmark.result());
    json.set("topic", arguments.text("topic")).set("record_bytes", static_cast<int64_t>(load.record_bytes));
    json.set("records_per_batch", int64_t{load.records_per_batch})
        .set("compression", arguments.text("compression"));
    json.set("acks", arguments.text("acks"))
        .set("idempotent", options->idempotent)
        .set("in_flight", int64_t{options->max_in_flight});
    json.set("rate", load.rate == 0 ? Json() : Json(load.rate));
    console.write(json.dump(2) + "\n");
  } else {
    console.write(
        as_table(benchmark.result(), "From handing over a batch to its acknowledgement", console.colour_out));
  }
  return benchmark.result().failed == 0 ? kExitDone : kExitFailed;
}

}  // namespace

Command bench_produce_command() {
  std::vector<Option> options = {
      topic_argument(),
      {.names = "-s,--size",
       .aliases = "--record-size",
       .value = "SIZE",
       .help = "Bytes of each value",
       .fallback = "1k",
       .check = size_value(1)},
      {.names = "-c,-n,--count",
       .aliases = "--num-records",
       .value = "N",
       .help = "Records to send; 1,000,000 without --duration",
       .check = integer(1, INT64_MAX)},
      {.names = "-d,--duration",
       .value = "DURATION",
       .help = "Stop after this time",
       .check = duration_value()},
      {.names = "-r,--rate",
       .aliases = "--throughput",
       .value = "N",
       .help = "At most so many records per second",
       .check = integer(1, INT64_MAX)},
      {.names = "--create",
       .value = "N",
       .help = "Create the topic with N partitions if it isn't there",
       .check = integer(1, 1'000'000)},
      {.names = "--in-flight",
       .value = "N",
       .help = "Requests on the way to each broker",
       .fallback = "5",
       .check = integer(1, 100)},
  };
  for (Option& row : producer_option_rows()) options.push_back(std::move(row));
  options.push_back(output_option());
  return {
      .path = "bench produce",
      .summary = "Measure how fast a topic takes records",
      .details =
          "Values are random letters and digits, batches are made before the clock starts and go to all\n"
          "partitions in turn. With --rate latency counts from when a batch was due. With --idempotent keep\n"
          "--in-flight at 5 or below: brokers remember no more.\n"
          "Example: millrace bench produce test --create 4 -s 1k -d 30s -z lz4\n",
      .options = with_connection(std::move(options)),
      .run = run};
}

}  // namespace millrace::tools
