// millrace produce: records from standard input or files into a topic.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <map>

#include "tools/commands/rows.h"
#include "tools/connect.h"
#include "tools/input_reader.h"
#include "tools/interrupt.h"
#include "tools/json.h"
#include "tools/partitioner.h"
#include "tools/produce_options.h"
#include "tools/progress.h"
#include "tools/quantity.h"
#include "tools/record_json.h"
#include "tools/table.h"
#include "tools/timestamp.h"

namespace millrace::tools {
namespace {

constexpr std::string_view kName = "produce";
// How many failed batches are described one by one.
constexpr int kMostComplaints = 20;
constexpr int kInputWaitMs = 5;

struct PartitionTally {
  int64_t records = 0;
  int64_t failed = 0;
  int64_t first_offset = -1;
  int64_t last_offset = -1;
};

// "7", "3-9", "1-4, 8 and 12 more".
std::string name_ordinals(std::span<const int64_t> ordinals) {
  constexpr int kMostRuns = 5;
  std::string text;
  int runs = 0;
  for (size_t i = 0; i < ordinals.size();) {
    if (++runs > kMostRuns) return text + fmt::format(" and {} more", ordinals.size() - i);
    size_t last = i;
    while (last + 1 < ordinals.size() && ordinals[last + 1] == ordinals[last] + 1) ++last;
    text += (text.empty() ? "" : ", ") + std::to_string(ordinals[i]);
    if (last > i) text += fmt::format("-{}", ordinals[last]);
    i = last + 1;
  }
  return text;
}

class Production {
 public:
  Production(const ProduceOptions& options, Cluster& cluster, Console& console)
      : options_(options),
        cluster_(cluster),
        console_(console),
        progress_(console, "records", 0, !console.in_is_terminal) {}

  // Makes the producer, unless that would create the topic: then the first record does it, for input without
  // records shall leave nothing behind.
  Result<void> open() {
    const Result<void> opened = make_producer(false);
    const bool missing = !opened && opened.error().code == ErrorCode::kUnknownTopicOrPartition;
    return missing && options_.allow_auto_creation ? Result<void>() : opened;
  }

  // False after a complaint: the input is unusable from here on.
  bool read_all() { return options_.kind == InputKind::kFiles ? read_files() : read_stream(); }

  // False after a complaint: records may be lost without anyone knowing which.
  bool finish() {
    // After Ctrl-C what has been read is still delivered, but the user doesn't wait for a broker that is
    // away.
    std::optional<int64_t> limit_ms;
    if (interrupted()) limit_ms = options_.producer.delivery_timeout_ms;
    clear_interrupt();
    const Result<void> flushed = producer_ ? producer_->flush(limit_ms) : Result<void>();
    progress_.clear();
    if (flushed) return true;
    console_.complain(kName, flushed.error().message);
    return false;
  }

  int64_t failed() const { return failed_; }
  void report(const Arguments& arguments) const;

 private:
  Result<void> make_producer(bool allow_auto_creation) {
    Result<std::unique_ptr<Producer>> producer =
        Producer::create(cluster_, options_.topic, allow_auto_creation, options_.producer,
                         [this](const Delivery& d) { delivered(d); });
    if (!producer) return std::unexpected(producer.error());
    producer_ = std::move(*producer);
    return {};
  }

  void delivered(const Delivery& delivery) {
    PartitionTally& tally = tallies_[delivery.partition];
    if (delivery.error.code == ErrorCode::kNone) {
      tally.records += delivery.record_count;
      if (delivery.base_offset < 0) return;
      if (tally.first_offset < 0) tally.first_offset = delivery.base_offset;
      tally.last_offset = std::max(tally.last_offset, delivery.base_offset + delivery.record_count - 1);
      return;
    }
    tally.failed += delivery.record_count;
    failed_ += delivery.record_count;
    progress_.clear();
    if (++complaints_ <= kMostComplaints) {
      console_.complain(
          kName, fmt::format("record{} {} for {} partition {}: {}", delivery.record_count == 1 ? "" : "s",
                             name_ordinals(delivery.ordinals), options_.topic, delivery.partition,
                             delivery.error.message));
    } else if (complaints_ == kMostComplaints + 1) {
      console_.complain(kName, "more batches failed; they are only counted");
    }
  }

  bool reject(int64_t ordinal, const std::string& message) {
    progress_.clear();
    console_.complain(kName, fmt::format("record {}: {}", ordinal, message));
    ++failed_;
    return false;
  }

  bool send(InputRecord& record) {
    const int64_t ordinal = ++ordinal_;
    if (!producer_) {
      if (const Result<void> made = make_producer(true); !made) return reject(ordinal, made.error().message);
    }
    if (!record.key && options_.key) record.key = options_.key;
    if (!options_.null_marker.empty() && record.key == options_.null_marker) record.key.reset();
    if (!options_.null_marker.empty() && record.value == options_.null_marker) record.value.reset();
    int32_t partition = 0;
    if (record.partition || options_.partition) {
      partition = record.partition ? *record.partition : *options_.partition;
    } else if (record.key) {
      partition = partition_for_key(*record.key, producer_->partition_count());
    } else {
      partition = producer_->sticky_partition();
    }
    headers_.clear();
    const auto add_headers = [&](const std::vector<Header>& headers) {
      for (const Header& header : headers) {
        headers_.push_back(
            {header.name, header.value ? std::optional(as_bytes(*header.value)) : std::nullopt});
      }
    };
    add_headers(record.headers);
    add_headers(options_.headers);
    const auto bytes = [](const std::optional<std::string>& text) {
      return text ? std::optional(as_bytes(*text)) : std::nullopt;
    };
    const int64_t timestamp_ms = record.timestamp_ms.value_or(wall_clock_ms());
    const Result<void> sent =
        producer_->send(partition, bytes(record.key), bytes(record.value), headers_, timestamp_ms, ordinal);
    if (!sent) return reject(ordinal, sent.error().message);
    progress_.add(1, static_cast<int64_t>((record.key ? record.key->size() : 0) +
                                          (record.value ? record.value->size() : 0)));
    return true;
  }

  bool read_stream() {
    const bool json = options_.kind == InputKind::kJson;
    InputReader input(STDIN_FILENO, json ? "\n" : options_.format.terminator());
    std::string_view text;
    while (!interrupted()) {
      switch (input.next(text, kInputWaitMs)) {
        case InputReader::State::kEnd:
          return true;
        case InputReader::State::kFailed:
          return reject(ordinal_ + 1, fmt::format("standard input: {}", std::strerror(input.error())));
        case InputReader::State::kNothingYet:
          if (producer_) producer_->poll(0);
          progress_.tick();
          continue;
        case InputReader::State::kRecord:
          break;
      }
      if (json && text.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      Result<InputRecord> record = json ? read_record_json(text) : options_.format.read(text);
      if (!record) return reject(ordinal_ + 1, record.error().message);
      if (!send(*record)) return false;
    }
    return true;
  }

  bool read_files() {
    for (const std::string& name : options_.files) {
      if (interrupted()) return true;
      std::ifstream file(name == "-" ? "/dev/stdin" : name, std::ios::binary);
      std::string content{std::istreambuf_iterator<char>(file), {}};
      // A directory opens, and fails when it is read.
      if (!file.is_open() || file.bad())
        return reject(ordinal_ + 1, fmt::format("{}: {}", name, std::strerror(errno)));
      InputRecord record;
      record.value = std::move(content);
      if (!send(record)) return false;
    }
    return true;
  }

  const ProduceOptions& options_;
  Cluster& cluster_;
  Console& console_;
  Progress progress_;
  // Null until the topic is there.
  std::unique_ptr<Producer> producer_;
  std::map<int32_t, PartitionTally> tallies_;
  std::vector<protocol::RecordHeader> headers_;
  int64_t ordinal_ = 0;
  int64_t failed_ = 0;
  int complaints_ = 0;
};

void Production::report(const Arguments& arguments) const {
  int64_t delivered = 0;
  Json partitions = Json::list();
  std::string text;
  for (const auto& [partition, tally] : tallies_) {
    delivered += tally.records;
    Json item = Json::object();
    item.set("partition", int64_t{partition}).set("records", tally.records).set("failed", tally.failed);
    item.set("first_offset", tally.first_offset < 0 ? Json() : Json(tally.first_offset));
    item.set("last_offset", tally.last_offset < 0 ? Json() : Json(tally.last_offset));
    partitions.push(std::move(item));
    if (tally.records == 0) continue;
    text +=
        fmt::format("{}{} to partition {}", text.empty() ? "" : ", ", format_count(tally.records), partition);
    if (tally.first_offset >= 0)
      text += fmt::format(" (offsets {}-{})", tally.first_offset, tally.last_offset);
  }
  if (wants_json(arguments)) {
    Json json = Json::object();
    json.set("topic", options_.topic)
        .set("records", delivered)
        .set("failed", failed_)
        .set("partitions", std::move(partitions));
    console_.write(json.dump(2) + "\n");
    return;
  }
  if (arguments.has("quiet")) return;
  console_.note(fmt::format("{}: {} record{} {}{}{}", options_.topic, format_count(delivered),
                            delivered == 1 ? "" : "s", options_.producer.acks == 0 ? "sent" : "delivered",
                            text.empty() ? "" : ": ", text));
}

int run(const Arguments& arguments, Console& console) {
  const Result<ProduceOptions> options = read_produce_options(arguments);
  if (!options) {
    console.complain(kName, options.error().message + "\nSee: millrace produce --help");
    return kExitUsage;
  }
  const std::unique_ptr<Cluster> cluster = connect(arguments, console, kName);
  if (!cluster) return kExitFailed;
  const InterruptScope interrupts;
  Production production(*options, *cluster, console);
  if (Result<void> opened = production.open(); !opened) {
    console.complain(kName, opened.error().message);
    return kExitFailed;
  }
  if (console.in_is_terminal && options->files.empty()) console.note("One record per line; end with Ctrl-D.");
  const bool complete = production.read_all();
  const bool certain = production.finish();
  production.report(arguments);
  return complete && certain && production.failed() == 0 ? kExitDone : kExitFailed;
}

}  // namespace

Command produce_command() {
  std::vector<Option> options = {topic_argument()};
  for (Option& row : produce_option_rows()) options.push_back(std::move(row));
  options.push_back({.names = "-q,--quiet", .help = "No report at the end"});
  options.push_back(output_option());
  return {.path = "produce",
          .summary = "Write records to a topic",
          .details = std::string(kInputFormatHelp) +
                     R"(
JSON lines: {"key":"k", "value":"v", "headers":{"a":"1"}, "partition":0, "timestamp":1764000000000}
  All members may be missing. key_base64 and value_base64 stand for bytes; a value that is no string is sent as
  the JSON that it is; headers may also be a list of {"name":..., "value":...}; timestamp may be ISO 8601.
  It is what consume --json writes.

A key decides the partition as in Kafka's Java client (murmur2), so that keys land where Java puts them; records
without key fill one partition's batch after another. The report goes to stderr, with --output json to stdout.
Input that can't be read ends the command; what came before it is delivered. Exit code 1 if any record failed.

Examples:
  echo hello | millrace produce greetings
  millrace produce orders -K : -z zstd < orders.txt
  millrace produce images -k logo logo.png
)",
          .options = with_connection(std::move(options)),
          .run = run};
}

}  // namespace millrace::tools
