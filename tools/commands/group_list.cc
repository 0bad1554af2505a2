// millrace group list: the groups with their kind, state and number of members.
#include <re2/re2.h>

#include "tools/client/groups.h"
#include "tools/commands/rows.h"
#include "tools/connect.h"
#include "tools/json.h"
#include "tools/regular_expression.h"
#include "tools/table.h"

namespace millrace::tools {
namespace {

struct Row {
  GroupListing group;
  // Nothing when the group can't be described: it is of another kind, or not this user's to see.
  std::optional<GroupDescription> description;
};

std::string as_json(const std::vector<Row>& rows) {
  Json list = Json::list();
  for (const Row& row : rows) {
    Json item = Json::object();
    item.set("name", Json::name(row.group.name))
        .set("type", row.group.type)
        .set("protocol_type", Json::name(row.group.protocol_type));
    item.set("assignor", row.description ? Json::name(row.description->assignor) : Json());
    item.set("state", row.group.state);
    item.set("members",
             row.description ? Json(static_cast<int64_t>(row.description->members.size())) : Json());
    list.push(std::move(item));
  }
  return list.dump(2) + "\n";
}

std::string as_table(const std::vector<Row>& rows, bool colour) {
  const auto or_dash = [](const std::string& text) { return text.empty() ? "-" : text; };
  Table table({"GROUP", "TYPE", "PROTOCOL", "ASSIGNOR", "STATE", ">MEMBERS"});
  for (const Row& row : rows) {
    table.add({row.group.name, or_dash(row.group.type), or_dash(row.group.protocol_type),
               or_dash(row.description ? row.description->assignor : ""), or_dash(row.group.state),
               row.description ? std::to_string(row.description->members.size()) : "?"});
  }
  return table.render(colour);
}

Result<std::vector<Row>> make_rows(Cluster& cluster, std::vector<GroupListing> groups) {
  std::vector<std::string> names;
  for (const GroupListing& group : groups) names.push_back(group.name);
  Result<std::map<std::string, Result<GroupDescription>>> described = describe_groups(cluster, names);
  if (!described) return std::unexpected(described.error());
  std::vector<Row> rows;
  for (GroupListing& group : groups) {
    const Result<GroupDescription>& description = described->at(group.name);
    Row& row = rows.emplace_back();
    if (description) {
      row.description = *description;
      // Newer than the list's.
      group.state = description->state;
      if (group.type.empty()) group.type = description->type;
    }
    row.group = std::move(group);
  }
  return rows;
}

int run(const Arguments& arguments, Console& console) {
  constexpr std::string_view kName = "group list";
  const RE2 pattern(arguments.text("match", ""), RE2::Quiet);
  const std::unique_ptr<Cluster> cluster = connect(arguments, console, kName);
  if (!cluster) return kExitFailed;
  Result<std::vector<GroupListing>> groups = list_groups(*cluster);
  if (!groups) {
    console.complain(kName, groups.error().message);
    return kExitFailed;
  }
  std::erase_if(*groups, [&](const GroupListing& group) { return !RE2::PartialMatch(group.name, pattern); });
  if (arguments.has("names")) {
    for (const GroupListing& group : *groups) console.write(group.name + "\n");
    return kExitDone;
  }
  const Result<std::vector<Row>> rows = make_rows(*cluster, std::move(*groups));
  if (!rows) {
    console.complain(kName, rows.error().message);
    return kExitFailed;
  }
  if (wants_json(arguments)) {
    console.write(as_json(*rows));
  } else if (rows->empty()) {
    console.note(arguments.has("match") ? "No group's name matches."
                                        : "No groups. They come with their first member or commit.");
  } else {
    console.write(as_table(*rows, console.colour_out));
  }
  return kExitDone;
}

}  // namespace

Command group_list_command() {
  return {.path = "group list",
          .summary = "List the consumer groups",
          .details =
              "TYPE is the group protocol: classic, or consumer (KIP-848). PROTOCOL is what the members\n"
              "are: consumer for consumers, - for a group that only has commits.\n",
          .options = with_connection({
              {.names = "-m,--match",
               .value = "REGEX",
               .help = "Only groups whose names match",
               .check = regular_expression()},
              {.names = "-q,--names", .help = "Names only, one per line"},
              output_option(),
          }),
          .run = run};
}

}  // namespace millrace::tools
