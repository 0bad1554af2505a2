// millrace consume: records of a topic, from any position, to standard output.
#include <fmt/format.h>
#include <re2/re2.h>

#include <csignal>

#include "tools/client/consumer.h"
#include "tools/client/group_reader.h"
#include "tools/commands/rows.h"
#include "tools/connect.h"
#include "tools/interrupt.h"
#include "tools/kafka_properties.h"
#include "tools/progress.h"
#include "tools/quantity.h"
#include "tools/record_format.h"
#include "tools/record_json.h"
#include "tools/record_output.h"
#include "tools/regular_expression.h"
#include "tools/timestamp.h"

namespace millrace::tools {
namespace {

constexpr std::string_view kName = "consume";
constexpr int64_t kWaitMs = 200;
constexpr size_t kOutputBuffer = 64 * 1024;
// Who wants it to end doesn't want to wait for a broker that is away: the group notices without being told.
constexpr int64_t kLeaveMs = 5'000;
// Written at least that often, and told to the source.
constexpr int64_t kWriteEveryMs = 500;

struct Plan {
  Range range;
  bool follow = false;
  bool json = false;
  OutputFormat format;
  int64_t most = INT64_MAX;
  FetchOptions fetch;
};

bool starts_new_group_at_end(const Arguments& arguments) {
  const std::string place = arguments.text("reset");
  return place == "end" || place == "latest";
}

// What can't be said together with --group, and what can be instead.
Result<void> check_group_options(const Arguments& arguments) {
  const auto conflict = [](std::string message) {
    return fail(ErrorCode::kInvalidRequest, std::move(message));
  };
  const std::string group = arguments.text("group");
  if (!arguments.has("group")) {
    for (const std::string name : {"reset", "instance"}) {
      if (arguments.has(name)) return conflict(fmt::format("--{} is for groups: it needs --group", name));
    }
    return {};
  }
  if (group.empty()) return conflict("--group: a group needs a name");
  if (arguments.has("instance") && arguments.text("instance").empty())
    return conflict("--instance: an instance needs a name");
  if (arguments.has("offset")) {
    return conflict(
        fmt::format("--offset and --group both say where to start: a group goes on from what it committed. "
                    "To move it, stop "
                    "its members, then: millrace group seek {} --to {}; to say where a new group starts: "
                    "--reset start|end",
                    group, arguments.text("offset")));
  }
  if (arguments.has("from-beginning") && starts_new_group_at_end(arguments))
    return conflict(fmt::format(
        "--from-beginning and --reset {} contradict each other: both say where a new group starts",
        arguments.text("reset")));
  if (arguments.has("partitions"))
    return conflict(
        "--partitions and --group both say what to read: a group shares all partitions among its members");
  return {};
}

Result<Plan> read_arguments(const Arguments& arguments) {
  Plan plan;
  if (Result<void> checked = check_group_options(arguments); !checked)
    return std::unexpected(checked.error());
  plan.follow = arguments.has("follow");
  plan.json = arguments.has("json") || wants_json(arguments);
  plan.most = arguments.integer("count", INT64_MAX);
  plan.fetch.isolation = arguments.text("isolation") == "read_committed" ? Isolation::kReadCommitted
                                                                         : Isolation::kReadUncommitted;
  std::string position = arguments.text("offset", plan.follow ? "end" : "start");
  if (arguments.has("from-beginning")) {
    if (arguments.has("offset"))
      return fail(ErrorCode::kInvalidRequest, "--from-beginning and --offset both say where to start");
    position = "start";
  }
  const Result<Range> range = parse_range(position, wall_clock_ms());
  if (!range) return std::unexpected(range.error());
  plan.range = *range;
  if (plan.follow && plan.range.to)
    return fail(ErrorCode::kInvalidRequest, "--follow has no end, and the position has one");
  if (plan.json && arguments.has("format"))
    return fail(ErrorCode::kInvalidRequest, "--json and --format both say how to write records");
  Result<std::string> properties = formatter_properties(arguments.all("property"));
  if (!properties) return std::unexpected(properties.error());
  const std::string text = arguments.text("format", *properties);
  Result<OutputFormat> format = OutputFormat::parse(text);
  if (!format) return std::unexpected(format.error());
  plan.format = std::move(*format);
  return plan;
}

Result<std::vector<ConsumeRange>> resolve_ranges(Cluster& cluster, const TopicInfo& topic,
                                                 std::vector<int32_t> numbers, const Plan& plan,
                                                 Console& console, std::vector<int32_t>& out_of_service) {
  const Isolation isolation = plan.fetch.isolation;
  Result<Offsets> start =
      list_offsets_in_service(cluster, topic.name, numbers, kEarliestTimestamp, isolation, out_of_service);
  if (!start) return std::unexpected(start.error());
  Result<Offsets> end = resolve(cluster, topic.name, numbers, Position{Position::Kind::kEnd}, isolation);
  if (!end) return std::unexpected(end.error());
  Result<Offsets> from = resolve(cluster, topic.name, numbers, plan.range.from, isolation);
  if (!from) return std::unexpected(from.error());
  Result<Offsets> to = resolve(cluster, topic.name, numbers,
                               plan.range.to.value_or(Position{Position::Kind::kEnd}), isolation);
  if (!to) return std::unexpected(to.error());
  std::vector<ConsumeRange> ranges;
  for (const int32_t number : numbers) {
    ConsumeRange& range = ranges.emplace_back();
    range.partition = number;
    range.from = (*from)[number];
    if (range.from < (*start)[number]) {
      console.note(fmt::format("{} partition {}: records before offset {} are gone; starting there",
                               topic.name, number, (*start)[number]));
    } else if (range.from > (*end)[number]) {
      console.note(fmt::format("{} partition {}: offset {} is past the end, {}", topic.name, number,
                               range.from, (*end)[number]));
    }
    range.from = std::clamp(range.from, (*start)[number], (*end)[number]);
    // Without --follow the end is where the log ends now, even when more keeps coming.
    if (!plan.follow) range.to = std::min((*to)[number], (*end)[number]);
  }
  return ranges;
}

Result<std::vector<int32_t>> chosen_partitions(const Arguments& arguments, const TopicInfo& topic) {
  std::vector<int32_t> numbers =
      parse_partitions(arguments.text("partitions")).value_or(std::vector<int32_t>{});
  for (const int32_t number : numbers) {
    if (topic.partition(number) != nullptr) continue;
    return fail(ErrorCode::kUnknownTopicOrPartition,
                fmt::format("topic \"{}\" has no partition {}; it has {}, from 0", topic.name, number,
                            topic.partitions.size()));
  }
  if (numbers.empty()) {
    for (const PartitionInfo& info : topic.partitions) numbers.push_back(info.partition);
  }
  return numbers;
}

bool matches(const ConsumedRecord& record, const RE2& pattern) {
  return RE2::PartialMatch(record.value.value_or(""), pattern) ||
         RE2::PartialMatch(record.key.value_or(""), pattern);
}

// Writes records until the end, the count or a signal.
Result<void> pump(RecordSource& source, const Arguments& arguments, const Plan& plan, Console& console) {
  const std::optional<std::string> grep = arguments.maybe("grep");
  RE2::Options quiet(RE2::Quiet);
  const RE2 pattern(grep.value_or(""), quiet);
  // Progress would write into the records on a terminal.
  Progress progress(console, "records", 0, !console.out_is_terminal && !arguments.has("quiet"));
  RecordOutput out(console, source);
  Deadline due = Deadline::after_ms(kWriteEveryMs);
  const auto write = [&] {
    const Result<void> written = out.write();
    due = Deadline::after_ms(kWriteEveryMs);
    return written;
  };
  while (!interrupted()) {
    if (out.records() >= plan.most) {
      // Of those on the way some may turn out to be another member's by now.
      if (out.empty()) break;
      if (Result<void> wrote = write(); !wrote) return wrote;
      continue;
    }
    Result<const ConsumedRecord*> record = source.next(out.empty() ? kWaitMs : 0);
    if (!record) {
      static_cast<void>(write());
      return std::unexpected(record.error());
    }
    if (*record == nullptr) {
      if (source.finished()) break;
      if (Result<void> wrote = write(); !wrote) return wrote;
      progress.tick();
      continue;
    }
    progress.add(
        1, static_cast<int64_t>((*record)->value.value_or("").size() + (*record)->key.value_or("").size()));
    if (!grep || matches(**record, pattern)) {
      if (plan.json) {
        append_record_json(out.text(), **record);
      } else {
        plan.format.append(out.text(), **record);
      }
      out.add((*record)->partition, (*record)->offset);
    }
    if (out.text().size() < kOutputBuffer && !due.passed()) continue;
    if (Result<void> wrote = write(); !wrote) return wrote;
  }
  return write();
}

// As one of the group's members, which it leaves at the end, whatever the end was.
Result<void> pump_as_member(Cluster& cluster, const TopicInfo& topic, const Arguments& arguments,
                            const Plan& plan, Console& console) {
  // A reader that is gone must not take the member along: it has to leave.
  std::signal(SIGPIPE, SIG_IGN);
  GroupReaderOptions options;
  options.group = arguments.text("group");
  options.instance = arguments.maybe("instance");
  options.fetch = plan.fetch;
  options.follow = plan.follow;
  options.new_at_end = starts_new_group_at_end(arguments);
  Result<std::unique_ptr<GroupReader>> reader =
      GroupReader::join(cluster, topic, options, [&](const std::string& note) { console.note(note); });
  if (!reader && interrupted()) return {};
  if (!reader) return std::unexpected(reader.error());
  const Result<void> pumped = pump(**reader, arguments, plan, console);
  const bool signalled = interrupted();
  clear_interrupt();
  const Result<void> left = (*reader)->leave(signalled || !pumped ? kLeaveMs : INT32_MAX);
  // Of a signal during the pump's last steps nothing is to be said.
  return !pumped && !signalled ? pumped : left;
}

int run(const Arguments& arguments, Console& console) {
  const Result<Plan> plan = read_arguments(arguments);
  if (!plan) {
    console.complain(kName, plan.error().message + "\nSee: millrace consume --help");
    return kExitUsage;
  }
  const InterruptScope interrupts;
  const std::unique_ptr<Cluster> cluster = connect(arguments, console, kName);
  if (!cluster) return kExitFailed;
  const auto fail_with = [&](const Error& error) {
    if (interrupted()) return kExitDone;
    console.complain(kName, error.message);
    return kExitFailed;
  };
  Result<TopicInfo> topic = cluster->topic(arguments.text("topic"));
  if (!topic) return fail_with(topic.error());
  if (arguments.has("group")) {
    const Result<void> pumped = pump_as_member(*cluster, *topic, arguments, *plan, console);
    if (pumped) return kExitDone;
    // What a signal explains is none of it: a commit that failed is to be known.
    console.complain(kName, pumped.error().message);
    return kExitFailed;
  }
  const Result<std::vector<int32_t>> numbers = chosen_partitions(arguments, *topic);
  if (!numbers) return fail_with(numbers.error());
  std::vector<int32_t> out_of_service;
  const Result<std::vector<ConsumeRange>> ranges =
      resolve_ranges(*cluster, *topic, *numbers, *plan, console, out_of_service);
  if (!ranges) return fail_with(ranges.error());
  const std::string unread = out_of_service_note(topic->name, out_of_service);
  if (!out_of_service.empty() && !ranges->empty()) console.note(unread + "; the others are read");
  Consumer consumer(*cluster, *topic, plan->fetch, *ranges,
                    [&](const std::string& note) { console.note(note); });
  const Result<void> pumped = pump(consumer, arguments, *plan, console);
  if (!pumped) return fail_with(pumped.error());
  return out_of_service.empty() ? kExitDone : fail_with({ErrorCode::kKafkaStorageError, unread});
}

}  // namespace

Command consume_command() {
  return {
      .path = "consume",
      .summary = "Read records of a topic, from any position",
      .details = std::string(kPositionHelp) + std::string(kRangeHelp) + "\n" +
                 std::string(kOutputFormatHelp) +
                 R"(
Without --follow it reads what is there when it starts, from the start unless -o says otherwise, and ends; the same
on a terminal and in a pipe. With --follow it goes on, from the end unless -o says otherwise; Ctrl-C ends it.
Records of one partition come in order of their offsets; partitions are merged by timestamp as far as they are there.

With --group it is one of the group's members: they share the partitions, each goes on from what the group has
committed, and what is written to stdout is committed a second later at most, and at the end. So a record that was
being written when the process was killed comes again. Of a pipe, written is what is in it, whether the program behind
has read it or not. While the pipe is full the member stays in the group; of what it couldn't write it drops the records
of partitions that it has to give away. Ctrl-C leaves the group. millrace group shows and moves it.

JSON lines have topic, partition, offset, timestamp, timestamp_type, key, value and headers; bytes that aren't
UTF-8 stand under key_base64 and value_base64. produce --json reads them.

Examples:
  millrace consume orders                      everything there is
  millrace consume orders -f -o -10            the last 10 of each partition, and what comes
  millrace consume orders -o @-1h --json       the last hour
  millrace consume orders -p 3 -o 1000:1010    ten records of partition 3
  millrace consume orders -g billing -f        share the work with the other members of billing
)",
      .options = with_connection({
          topic_argument(),
          {.names = "-o,--offset",
           .value = "POSITION",
           .help = "Where to start, or a range; see below",
           .check = range_value()},
          {.names = "-f,--follow", .help = "Don't stop at the end"},
          {.names = "-c,--count",
           .aliases = "--max-messages",
           .value = "N",
           .help = "Stop after N records",
           .check = integer(0, INT64_MAX)},
          {.names = "-p,--partitions",
           .aliases = "--partition",
           .value = "LIST",
           .help = "Only these, e.g. 0,2-5",
           .check = partition_list()},
          {.names = "-F,--format", .value = "FORMAT", .help = "How to write records [%s\\n]; see below"},
          {.names = "-j,--json", .help = "Write JSON lines"},
          {.names = "--output",
           .value = "FORMAT",
           .help = "json is the same as --json",
           .fallback = "text",
           .choices = {"text", "json"}},
          {.names = "-g,--group",
           .value = "GROUP",
           .help = "Read as a member of this group, and commit",
           .completion = Completion::kGroup},
          {.names = "--reset",
           .value = "PLACE",
           .help = "Where a group starts that has committed nothing [start]",
           .choices = {"start", "end", "earliest", "latest"}},
          {.names = "--instance",
           .value = "NAME",
           .help = "Be this static member of the group: after a restart within its session it goes on with "
                   "the partitions that it had, and the others notice nothing; if it was killed, it "
                   "first waits until the session of the one before ends"},
          {.names = "--grep",
           .value = "REGEX",
           .help = "Only records whose value or key matches (RE2)",
           .check = regular_expression()},
          {.names = "--isolation",
           .aliases = "--isolation-level",
           .value = "LEVEL",
           .help = "Whether transactions must have committed",
           .fallback = "read_uncommitted",
           .choices = {"read_uncommitted", "read_committed"}},
          {.names = "--from-beginning",
           .help = "As -o start, or with --group as --reset start; Kafka's spelling"},
          {.names = "--property",
           .aliases = "--formatter-property",
           .value = "NAME=VALUE",
           .help = "As in Kafka's console consumer: print.key, key.separator, ...",
           .repeatable = true},
          {.names = "-q,--quiet", .help = "No progress on the terminal"},
      }),
      .run = run};
}

}  // namespace millrace::tools
