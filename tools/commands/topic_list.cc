// millrace topic list: the topics with their numbers of partitions and replicas, and their sizes.
#include <re2/re2.h>

#include "tools/client/admin.h"
#include "tools/commands/rows.h"
#include "tools/connect.h"
#include "tools/json.h"
#include "tools/quantity.h"
#include "tools/regular_expression.h"
#include "tools/table.h"

namespace millrace::tools {
namespace {

struct Row {
  TopicInfo topic;
  int64_t replicas = 0;
  int64_t without_leader = 0;
  // -1: the broker doesn't say.
  int64_t size_bytes = -1;
};

std::vector<Row> make_rows(std::vector<TopicInfo> topics, const Result<PartitionSizes>& sizes) {
  std::vector<Row> rows;
  for (TopicInfo& topic : topics) {
    Row& row = rows.emplace_back();
    for (const PartitionInfo& partition : topic.partitions) {
      row.replicas = std::max(row.replicas, static_cast<int64_t>(partition.replicas.size()));
      if (partition.leader < 0) ++row.without_leader;
      const auto size =
          sizes ? sizes->find({topic.name, partition.partition}) : PartitionSizes::const_iterator{};
      if (sizes && size != sizes->end()) row.size_bytes = std::max<int64_t>(row.size_bytes, 0) + size->second;
    }
    row.topic = std::move(topic);
  }
  return rows;
}

std::string as_json(const std::vector<Row>& rows) {
  Json list = Json::list();
  for (const Row& row : rows) {
    Json item = Json::object();
    item.set("name", row.topic.name)
        .set("id", row.topic.id.is_zero() ? Json() : Json(row.topic.id.to_string()));
    item.set("internal", row.topic.internal)
        .set("partitions", static_cast<int64_t>(row.topic.partitions.size()));
    item.set("replication_factor", row.replicas).set("partitions_without_leader", row.without_leader);
    item.set("size_bytes", row.size_bytes < 0 ? Json() : Json(row.size_bytes));
    list.push(std::move(item));
  }
  return list.dump(2) + "\n";
}

std::string as_table(const std::vector<Row>& rows, bool colour) {
  Table table({"TOPIC", ">PARTITIONS", ">REPLICAS", ">SIZE", "NOTE"});
  for (const Row& row : rows) {
    std::string note = row.topic.internal ? "internal" : "";
    if (row.without_leader > 0)
      note += (note.empty() ? "" : ", ") + std::to_string(row.without_leader) + " without leader";
    table.add({row.topic.name, std::to_string(row.topic.partitions.size()), std::to_string(row.replicas),
               row.size_bytes < 0 ? "?" : format_size(static_cast<double>(row.size_bytes)), note});
  }
  return table.render(colour);
}

int run(const Arguments& arguments, Console& console) {
  constexpr std::string_view kName = "topic list";
  const RE2 pattern(arguments.text("match", ""), RE2::Quiet);
  const std::unique_ptr<Cluster> cluster = connect(arguments, console, kName);
  if (!cluster) return kExitFailed;
  Result<std::vector<TopicInfo>> topics = cluster->describe_topics(std::nullopt);
  if (!topics) {
    console.complain(kName, topics.error().message);
    return kExitFailed;
  }
  std::erase_if(*topics, [&](const TopicInfo& topic) {
    return (topic.internal && !arguments.has("internal")) || !RE2::PartialMatch(topic.name, pattern);
  });
  if (arguments.has("names")) {
    for (const TopicInfo& topic : *topics) console.write(topic.name + "\n");
    return kExitDone;
  }
  const std::vector<Row> rows = make_rows(std::move(*topics), partition_sizes(*cluster, std::nullopt));
  if (wants_json(arguments)) {
    console.write(as_json(rows));
  } else if (rows.empty()) {
    console.note("No topics. Make one: millrace topic create NAME");
  } else {
    console.write(as_table(rows, console.colour_out));
  }
  return kExitDone;
}

}  // namespace

Command topic_list_command() {
  return {.path = "topic list",
          .summary = "List the topics",
          .details = "",
          .options = with_connection({
              {.names = "-m,--match",
               .value = "REGEX",
               .help = "Only topics whose names match",
               .check = regular_expression()},
              {.names = "--internal", .help = "Internal topics too"},
              {.names = "-q,--names", .help = "Names only, one per line"},
              output_option(),
          }),
          .run = run};
}

}  // namespace millrace::tools
