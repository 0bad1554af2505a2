// millrace group describe: a group's members, with client, host and what they are assigned.
#include <fmt/format.h>

#include <algorithm>

#include "tools/client/configs.h"
#include "tools/client/groups.h"
#include "tools/commands/by_name.h"
#include "tools/commands/rows.h"
#include "tools/connect.h"
#include "tools/json.h"
#include "tools/table.h"
#include "tools/utf8.h"

namespace millrace::tools {
namespace {

Json partitions_json(const TopicPartitions& by_topic) {
  Json list = Json::list();
  for (const auto& [topic, numbers] : by_topic) {
    Json partitions = Json::list();
    for (const int32_t number : numbers) partitions.push(int64_t{number});
    Json item = Json::object();
    item.set("topic", topic).set("partitions", std::move(partitions));
    list.push(std::move(item));
  }
  return list;
}

Json member_json(const GroupMember& member) {
  Json topics = Json::list();
  for (const std::string& topic : member.topics) topics.push(Json::name(topic));
  Json item = Json::object();
  item.set("member_id", Json::name(member.id)).set("instance_id", Json::name(member.instance_id));
  item.set("client_id", Json::name(member.client_id)).set("host", member.host);
  item.set("rack", Json::name(member.rack));
  item.set("epoch", member.epoch < 0 ? Json() : Json(int64_t{member.epoch}));
  item.set("classic", member.classic)
      .set("topics", std::move(topics))
      .set("topic_regex", Json::name(member.topic_regex));
  item.set("assignment", partitions_json(member.assignment));
  item.set("target_assignment", member.target ? partitions_json(*member.target) : Json());
  return item;
}

Json as_json(const GroupDescription& group, const std::vector<ConfigEntry>& settings) {
  Json json = Json::object();
  json.set("name", Json::name(group.name)).set("type", group.type);
  json.set("protocol_type", Json::name(group.protocol_type));
  json.set("state", group.state).set("assignor", Json::name(group.assignor));
  json.set("coordinator", int64_t{group.coordinator});
  json.set("epoch", group.epoch < 0 ? Json() : Json(int64_t{group.epoch}));
  json.set("assignment_epoch", group.epoch < 0 ? Json() : Json(int64_t{group.assignment_epoch}));
  Json members = Json::list();
  for (const GroupMember& member : group.members) members.push(member_json(member));
  json.set("members", std::move(members));
  Json own = Json::object();
  for (const ConfigEntry& setting : settings) own.set(setting.name, setting.value);
  return std::move(json.set("settings", std::move(own)));
}

std::string partitions_text(const TopicPartitions& by_topic) {
  std::string text;
  for (const auto& [topic, numbers] : by_topic) {
    if (numbers.empty()) continue;
    text += fmt::format("{}{}:{}", text.empty() ? "" : " ", topic, format_partitions(numbers));
  }
  return text.empty() ? "-" : text;
}

std::string assignment_text(const GroupMember& member) {
  std::string text = partitions_text(member.assignment);
  if (member.target && *member.target != member.assignment)
    text += fmt::format(" (soon {})", partitions_text(*member.target));
  return text;
}

std::string members_table(const GroupDescription& group, bool colour) {
  const bool epochs = group.epoch >= 0;
  const auto has_instance = [](const GroupMember& member) { return member.instance_id.has_value(); };
  const bool instances = std::any_of(group.members.begin(), group.members.end(), has_instance);
  std::vector<std::string> columns = {"CLIENT", "HOST"};
  if (instances) columns.emplace_back("INSTANCE");
  if (epochs) columns.emplace_back(">EPOCH");
  columns.insert(columns.end(), {">PARTITIONS", "ASSIGNMENT", "MEMBER"});
  Table table(columns);
  for (const GroupMember& member : group.members) {
    std::vector<std::string> cells = {member.client_id, member.host};
    if (instances) cells.push_back(member.instance_id.value_or("-"));
    if (epochs) {
      cells.push_back((member.has_left() ? "left" : std::to_string(member.epoch)) +
                      (member.classic.value_or(false) ? " (classic)" : ""));
    }
    cells.insert(cells.end(), {std::to_string(member.partition_count()), assignment_text(member), member.id});
    table.add(std::move(cells));
  }
  return table.render(colour);
}

Style state_style(const std::string& state) {
  if (state == "Stable") return Style::kGreen;
  return state == "Empty" || state == "Dead" ? Style::kDim : Style::kYellow;
}

// The group's own; those of all groups are the broker's.
std::string settings_text(const std::vector<ConfigEntry>& settings) {
  std::string text;
  for (const ConfigEntry& setting : settings)
    text +=
        fmt::format("{}{}={}", text.empty() ? "Settings: " : " ", setting.name, setting.value.value_or(""));
  return text.empty() ? text : text + "\n";
}

std::string as_text(const GroupDescription& group, const std::vector<ConfigEntry>& settings, bool colour) {
  std::string text = fmt::format("{}  {}  {}", styled(visible(group.name), Style::kBold, colour),
                                 styled(group.state, state_style(group.state), colour), group.type);
  if (!group.protocol_type.empty() && group.protocol_type != group.type)
    text += fmt::format("  of {}s", visible(group.protocol_type));
  if (!group.assignor.empty()) text += fmt::format("  assignor {}", visible(group.assignor));
  if (group.epoch >= 0) text += fmt::format("  epoch {} (assigned {})", group.epoch, group.assignment_epoch);
  text += fmt::format("  coordinator {}\n", group.coordinator) + settings_text(settings);
  if (group.members.empty()) return text + "No members.\n";
  return text + "\n" + members_table(group, colour);
}

// None where the broker knows no settings of groups: Apache Kafka before 4.0.
std::vector<ConfigEntry> own_settings(Cluster& cluster, const std::string& group) {
  Result<std::vector<ConfigEntry>> settings = describe_configs(cluster, ConfigResource::kGroup, group);
  if (!settings) return {};
  std::erase_if(*settings, [](const ConfigEntry& setting) { return setting.source != "group"; });
  return std::move(*settings);
}

int run(const Arguments& arguments, Console& console) {
  const auto show = [&](Cluster& cluster, const std::string& name) -> Result<Described> {
    const Result<GroupDescription> group = describe_group(cluster, name);
    if (!group) return std::unexpected(group.error());
    const std::vector<ConfigEntry> settings = own_settings(cluster, name);
    return Described{as_json(*group, settings), as_text(*group, settings, console.colour_out)};
  };
  return describe_by_name("group", arguments, console, show);
}

}  // namespace

Command group_describe_command() {
  Option groups = group_argument();
  groups.help = "The groups' names";
  groups.repeatable = true;
  return {
      .path = "group describe",
      .summary = "Show groups: members, hosts, assignments",
      .details =
          "Epochs are those of groups of type consumer (KIP-848): a member whose epoch is the group's has\n"
          "its final assignment, others show what they will have soon. A static member that left is shown "
          "as\n"
          "\"left\": its partitions wait for it until its session ends.\n"
          "millrace group lag shows how far a group is.\n",
      .options = with_connection({groups, output_option()}),
      .run = run};
}

}  // namespace millrace::tools
