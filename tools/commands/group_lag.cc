// millrace group lag: how far a group is behind, how fast it goes, and when it will have caught up.
#include <fmt/format.h>
#include <poll.h>

#include "tools/commands/rows.h"
#include "tools/connect.h"
#include "tools/interrupt.h"
#include "tools/lag_report.h"
#include "tools/quantity.h"
#include "tools/timestamp.h"
#include "tools/utf8.h"

namespace millrace::tools {
namespace {

constexpr std::string_view kName = "group lag";
constexpr std::string_view kClearScreen = "\x1b[H\x1b[2J";

struct Look {
  GroupDescription group;
  LagReport report;
};

Result<Look> look(Cluster& cluster, const std::string& name, LagHistory& history) {
  Look look;
  Result<GroupDescription> group = describe_group(cluster, name);
  if (!group) return std::unexpected(group.error());
  look.group = std::move(*group);
  Result<LagSample> sample = sample_lag(cluster, look.group);
  if (!sample) return std::unexpected(sample.error());
  history.add(std::move(*sample));
  look.report = history.report();
  return look;
}

Json as_json(const Look& look) {
  Json json = Json::object();
  json.set("name", Json::name(look.group.name)).set("state", look.group.state);
  json.set("members", static_cast<int64_t>(look.group.members.size()));
  const Json lag = lag_json(look.report);
  for (const Json::Member& member : *lag.if_object()) json.set(member.first, member.second);
  return json;
}

std::string as_text(const Look& look, bool rates, bool colour) {
  const size_t members = look.group.members.size();
  std::string text =
      fmt::format("{}  {}, {} member{}; {}\n", styled(visible(look.group.name), Style::kBold, colour),
                  look.group.state, members, members == 1 ? "" : "s", lag_summary(look.report));
  if (look.report.partitions.empty()) return text;
  return text + "\n" + lag_table(look.report, rates, colour);
}

void show(const Look& look, const Arguments& arguments, bool rates, Console& console) {
  const bool watch = arguments.has("watch");
  std::string text;
  if (wants_json(arguments)) {
    text = as_json(look).dump(watch ? 0 : 2) + "\n";
  } else {
    if (watch && console.out_is_terminal) text = kClearScreen;
    text += as_text(look, rates, console.colour_out);
    if (watch && console.out_is_terminal) {
      text += styled(fmt::format("\n{}  Ctrl-C ends\n", format_timestamp(wall_clock_ms())), Style::kDim,
                     console.colour_out);
    } else if (watch) {
      text += "\n";
    }
  }
  console.write(text);
}

void wait(int64_t wait_ms) {
  if (!interrupted()) poll(nullptr, 0, static_cast<int>(wait_ms));
}

int run(const Arguments& arguments, Console& console) {
  const bool watch = arguments.has("watch");
  const bool rates = watch || arguments.has("rates");
  const int64_t interval_ms = parse_duration_ms(arguments.text(watch ? "interval" : "rates")).value_or(0);
  const InterruptScope interrupts;
  const std::unique_ptr<Cluster> cluster = connect(arguments, console, kName);
  if (!cluster) return kExitFailed;
  const std::string name = arguments.text("group");
  LagHistory history;
  while (true) {
    const Result<Look> seen = look(*cluster, name, history);
    if (interrupted()) return kExitDone;
    if (!seen) {
      console.complain(kName, seen.error().message);
      return kExitFailed;
    }
    const bool first_of_two = rates && !watch && history.size() == 1;
    if (!first_of_two) show(*seen, arguments, rates, console);
    if (!watch && !first_of_two) return kExitDone;
    if (!console.flush()) return kExitDone;  // nobody reads on; the caller says so
    wait(interval_ms);
    if (interrupted()) return kExitDone;
  }
}

// A duration that poll takes.
Check interval_value() {
  return [](const std::string& value) -> std::optional<std::string> {
    if (const auto complaint = duration_value()(value)) return complaint;
    constexpr int64_t kLeastMs = 100;
    constexpr int64_t kMostMs = 24 * 3'600'000;
    const int64_t ms = *parse_duration_ms(value);
    if (ms < kLeastMs || ms > kMostMs) return fmt::format("{} is not between 100ms and 24h", value);
    return std::nullopt;
  };
}

}  // namespace

Command group_lag_command() {
  return {
      .path = "group lag",
      .summary = "Show how far a group is behind: in records, in seconds, with rates",
      .details =
          R"(COMMITTED is the offset of the next record to read, END that of the next to be written, LAG what is between;
offsets that compaction took count. BEHIND is the age of the oldest unread record: now minus its timestamp. A
group that reads nothing gets further behind each second; one that is done is 0s behind. A partition with records
but no commit shows "-": the group may have all of it to read or nothing, and the sums are without it.

Rates need two looks: --rates takes the second after a while, --watch goes on and looks back 30 s. Many clients
commit every 5 s only: look for longer than that. CAUGHT UP IN is LAG / (OUT - IN), never if no more is read than
comes in.

Examples:
  millrace group lag billing
  millrace group lag billing --rates 10s
  millrace group lag billing --watch
)",
      .options = with_connection({
          group_argument(),
          {.names = "-r,--rates",
           .value = "DURATION",
           .help = "Look again after this time, and show rates",
           .check = interval_value()},
          {.names = "-w,--watch", .help = "Look again and again; JSON comes as lines"},
          {.names = "-i,--interval",
           .value = "DURATION",
           .help = "How often to look with --watch",
           .fallback = "2s",
           .check = interval_value()},
          output_option(),
      }),
      .run = run};
}

}  // namespace millrace::tools
