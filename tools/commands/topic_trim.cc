// millrace topic trim: deletes a topic's oldest records, up to a position (Kafka's DeleteRecords).
#include <fmt/format.h>

#include "tools/client/admin.h"
#include "tools/client/offsets.h"
#include "tools/commands/rows.h"
#include "tools/confirm.h"
#include "tools/connect.h"
#include "tools/json.h"
#include "tools/quantity.h"
#include "tools/table.h"
#include "tools/timestamp.h"

namespace millrace::tools {
namespace {

constexpr std::string_view kName = "topic trim";

struct Plan {
  TopicInfo topic;
  Offsets start;
  Offsets before;
  int64_t records = 0;
};

Result<Plan> make_plan(Cluster& cluster, const Arguments& arguments) {
  Plan plan;
  Result<TopicInfo> topic = cluster.topic(arguments.text("topic"));
  if (!topic) return std::unexpected(topic.error());
  plan.topic = std::move(*topic);
  std::vector<int32_t> numbers =
      parse_partitions(arguments.text("partitions")).value_or(std::vector<int32_t>{});
  if (numbers.empty()) {
    for (const PartitionInfo& partition : plan.topic.partitions) numbers.push_back(partition.partition);
  }
  const Result<Position> position = parse_position(arguments.text("before"), wall_clock_ms());
  if (!position) return std::unexpected(position.error());
  for (auto [offsets, wanted] : {std::pair(&plan.start, Position{}), std::pair(&plan.before, *position)}) {
    Result<Offsets> resolved =
        resolve(cluster, plan.topic.name, numbers, wanted, Isolation::kReadUncommitted);
    if (!resolved) return std::unexpected(resolved.error());
    *offsets = std::move(*resolved);
  }
  // What is already gone needs no request, and the broker would refuse an offset below its start.
  for (auto& [partition, offset] : plan.before) {
    offset = std::max(offset, plan.start[partition]);
    plan.records += offset - plan.start[partition];
  }
  return plan;
}

bool confirmed(Console& console, const Plan& plan) {
  return confirm(console, fmt::format("This deletes {} record{} of {} for good. ", format_count(plan.records),
                                      plan.records == 1 ? "" : "s", plan.topic.name));
}

int report(const Arguments& arguments, Console& console, const Plan& plan,
           const std::map<int32_t, Result<int64_t>>& results) {
  int code = kExitDone;
  Json list = Json::list();
  Table table({">PARTITION", ">OLD START", ">NEW START", ">DELETED"});
  for (const auto& [partition, result] : results) {
    const int64_t old_start = plan.start.at(partition);
    Json item = Json::object();
    item.set("partition", int64_t{partition}).set("old_start_offset", old_start);
    item.set("start_offset", result ? Json(*result) : Json())
        .set("deleted", result ? *result - old_start : int64_t{0});
    item.set("error", result ? Json() : Json(result.error().message));
    list.push(std::move(item));
    if (result) {
      table.add({std::to_string(partition), std::to_string(old_start), std::to_string(*result),
                 format_count(*result - old_start)});
    } else {
      console.complain(
          kName, fmt::format("{} partition {}: {}", plan.topic.name, partition, result.error().message));
      code = kExitFailed;
    }
  }
  console.write(wants_json(arguments) ? list.dump(2) + "\n" : table.render(console.colour_out));
  return code;
}

int run(const Arguments& arguments, Console& console) {
  const std::unique_ptr<Cluster> cluster = connect(arguments, console, kName);
  if (!cluster) return kExitFailed;
  const Result<Plan> plan = make_plan(*cluster, arguments);
  if (!plan) {
    console.complain(kName, plan.error().message);
    return kExitFailed;
  }
  if (console.in_is_terminal && !arguments.has("yes") && plan->records > 0 && !confirmed(console, *plan)) {
    console.note("Nothing deleted.");
    return kExitFailed;
  }
  const Result<std::map<int32_t, Result<int64_t>>> results =
      delete_records(*cluster, plan->topic, plan->before);
  if (!results) {
    console.complain(kName, results.error().message);
    return kExitFailed;
  }
  return report(arguments, console, *plan, *results);
}

}  // namespace

Command topic_trim_command() {
  return {.path = "topic trim",
          .summary = "Delete a topic's oldest records",
          .details = std::string(kPositionHelp) +
                     "\nOn a terminal it asks before it deletes; in a script it doesn't.\n"
                     "Example: millrace topic trim orders --before @-7d\n",
          .options = with_connection({
              topic_argument(),
              {.names = "--before",
               .value = "POSITION",
               .help = "The first record to keep, in each partition",
               .check = position_value(),
               .required = true},
              {.names = "-p,--partitions",
               .aliases = "--partition",
               .value = "LIST",
               .help = "Only these, e.g. 0,2-5",
               .check = partition_list()},
              {.names = "-y,--yes", .help = "Don't ask"},
              output_option(),
          }),
          .run = run};
}

}  // namespace millrace::tools
