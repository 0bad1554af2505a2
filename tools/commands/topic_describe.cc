// millrace topic describe: partitions with offsets, leaders, replicas and sizes; settings that aren't the
// default.
#include <fmt/format.h>

#include "tools/client/admin.h"
#include "tools/client/configs.h"
#include "tools/client/offsets.h"
#include "tools/commands/by_name.h"
#include "tools/commands/rows.h"
#include "tools/connect.h"
#include "tools/json.h"
#include "tools/quantity.h"
#include "tools/table.h"

namespace millrace::tools {
namespace {

struct Description {
  TopicInfo topic;
  Offsets start;
  Offsets end;
  std::vector<ConfigEntry> configs;
  PartitionSizes sizes;
};

Result<Description> describe(Cluster& cluster, const std::string& name, Console& console) {
  Description description;
  Result<TopicInfo> topic = cluster.topic(name);
  if (!topic) return std::unexpected(topic.error());
  description.topic = std::move(*topic);
  std::vector<int32_t> numbers;
  for (const PartitionInfo& partition : description.topic.partitions) {
    if (partition.leader >= 0) numbers.push_back(partition.partition);
  }
  std::vector<int32_t> out_of_service;
  for (const auto& [timestamp, offsets] :
       {std::pair{kEarliestTimestamp, &description.start}, {kLatestTimestamp, &description.end}}) {
    Result<Offsets> found = list_offsets_in_service(cluster, name, numbers, timestamp,
                                                    Isolation::kReadUncommitted, out_of_service);
    if (!found) return std::unexpected(found.error());
    *offsets = std::move(*found);
  }
  if (!out_of_service.empty()) console.note(out_of_service_note(name, out_of_service));
  // A broker may refuse these two to this user and still tell the rest.
  if (Result<std::vector<ConfigEntry>> configs = describe_configs(cluster, ConfigResource::kTopic, name)) {
    description.configs = std::move(*configs);
  } else {
    console.note(fmt::format("{}: settings not readable: {}", name, configs.error().message));
  }
  if (Result<PartitionSizes> sizes = partition_sizes(cluster, description.topic)) {
    description.sizes = std::move(*sizes);
  } else {
    console.note(fmt::format("{}: sizes not readable: {}", name, sizes.error().message));
  }
  return description;
}

template <class T>
Json find_json(const T& map, const typename T::key_type& key) {
  const auto found = map.find(key);
  return found == map.end() ? Json() : Json(found->second);
}

Json numbers_json(const std::vector<int32_t>& numbers) {
  Json list = Json::list();
  for (const int32_t number : numbers) list.push(int64_t{number});
  return list;
}

Json as_json(const Description& description) {
  const TopicInfo& topic = description.topic;
  Json json = Json::object();
  json.set("name", topic.name).set("id", topic.id.is_zero() ? Json() : Json(topic.id.to_string()));
  json.set("internal", topic.internal);
  Json partitions = Json::list();
  for (const PartitionInfo& info : topic.partitions) {
    Json item = Json::object();
    item.set("partition", int64_t{info.partition})
        .set("leader", info.leader < 0 ? Json() : Json(int64_t{info.leader}));
    item.set("leader_epoch", int64_t{info.leader_epoch}).set("replicas", numbers_json(info.replicas));
    item.set("isr", numbers_json(info.isr)).set("offline_replicas", numbers_json(info.offline));
    item.set("start_offset", find_json(description.start, info.partition))
        .set("end_offset", find_json(description.end, info.partition));
    item.set("size_bytes", find_json(description.sizes, {topic.name, info.partition}));
    partitions.push(std::move(item));
  }
  json.set("partitions", std::move(partitions));
  Json configs = Json::list();
  for (const ConfigEntry& config : description.configs) {
    Json item = Json::object();
    item.set("name", config.name).set("value", Json(config.value)).set("source", config.source);
    item.set("default", config.is_default)
        .set("read_only", config.read_only)
        .set("sensitive", config.sensitive);
    configs.push(std::move(item));
  }
  return std::move(json.set("configs", std::move(configs)));
}

std::string join(const std::vector<int32_t>& numbers) { return fmt::format("{}", fmt::join(numbers, ",")); }

std::string partitions_table(const Description& description, bool colour) {
  Table table({">PARTITION", ">LEADER", "REPLICAS", "IN SYNC", ">START", ">END", ">RECORDS", ">SIZE"});
  for (const PartitionInfo& info : description.topic.partitions) {
    const bool known = description.end.contains(info.partition) && description.start.contains(info.partition);
    const int64_t start = known ? description.start.at(info.partition) : 0;
    const int64_t end = known ? description.end.at(info.partition) : 0;
    const auto size = description.sizes.find({description.topic.name, info.partition});
    table.add({std::to_string(info.partition), info.leader < 0 ? "none" : std::to_string(info.leader),
               join(info.replicas), join(info.isr), known ? std::to_string(start) : "?",
               known ? std::to_string(end) : "?", known ? format_count(end - start) : "?",
               size == description.sizes.end() ? "?" : format_size(static_cast<double>(size->second))});
  }
  return table.render(colour);
}

std::string as_text(const Description& description, bool all_configs, bool colour) {
  const TopicInfo& topic = description.topic;
  std::string text = styled(topic.name, Style::kBold, colour);
  if (!topic.id.is_zero()) text += fmt::format("  id {}", topic.id.to_string());
  if (topic.internal) text += "  internal";
  text += "\n\n" + partitions_table(description, colour) + "\n";
  Table table({"SETTING", "VALUE", "FROM"});
  for (const ConfigEntry& config : description.configs) {
    if (config.is_default && !all_configs) continue;
    table.add({config.name, config.sensitive ? "(hidden)" : config.value.value_or(""), config.source});
  }
  if (table.empty()) return text + "All settings have their defaults; --all shows them.\n";
  return text + table.render(colour);
}

int run(const Arguments& arguments, Console& console) {
  const auto show = [&](Cluster& cluster, const std::string& name) -> Result<Described> {
    const Result<Description> description = describe(cluster, name, console);
    if (!description) return std::unexpected(description.error());
    return Described{as_json(*description), as_text(*description, arguments.has("all"), console.colour_out)};
  };
  return describe_by_name("topic", arguments, console, show);
}

}  // namespace

Command topic_describe_command() {
  Option topics = topic_argument();
  topics.help = "The topics' names";
  topics.repeatable = true;
  return {.path = "topic describe",
          .summary = "Show topics: partitions, offsets, sizes, settings",
          .details =
              "The table shows the settings that differ from the defaults, --all and JSON show all of them.\n"
              "END is the offset of the next record; RECORDS counts offsets, compacted ones included.\n",
          .options = with_connection({
              topics,
              {.names = "-a,--all", .help = "Settings that have their default too"},
              output_option(),
          }),
          .run = run};
}

}  // namespace millrace::tools
