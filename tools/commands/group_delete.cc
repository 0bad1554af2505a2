// millrace group delete: deletes groups and all that they have committed.
#include <fmt/format.h>

#include "tools/client/groups.h"
#include "tools/commands/by_name.h"
#include "tools/commands/rows.h"
#include "tools/connect.h"
#include "tools/regular_expression.h"
#include "tools/utf8.h"

namespace millrace::tools {
namespace {

Result<std::vector<std::string>> group_names(Cluster& cluster) {
  Result<std::vector<GroupListing>> groups = list_groups(cluster);
  if (!groups) return std::unexpected(groups.error());
  std::vector<std::string> names;
  for (const GroupListing& group : *groups) names.push_back(group.name);
  return names;
}

// The result in words that say what to do.
Error explained(Cluster& cluster, const std::string& name, const Error& error) {
  if (error.code == ErrorCode::kGroupIdNotFound) return no_such_group(cluster, name);
  if (error.code != ErrorCode::kNonEmptyGroup)
    return {error.code, fmt::format("group \"{}\": {}", visible(name), error.message)};
  return {error.code,
          fmt::format(
              "group \"{}\" has members; stop them first (millrace group describe {} shows them; one that "
              "was killed, or a static one that left, counts until its session ends: 45 s, unless it was set "
              "otherwise)",
              visible(name), visible(name))};
}

Result<std::vector<DeletionResult>> remove(Cluster& cluster, const std::vector<std::string>& names) {
  Result<std::map<std::string, Result<void>>> results = delete_groups(cluster, names);
  if (!results) return std::unexpected(results.error());
  std::vector<DeletionResult> deletions;
  for (auto& [name, result] : *results) {
    const bool missing = !result && result.error().code == ErrorCode::kGroupIdNotFound;
    if (!result) result = std::unexpected(explained(cluster, name, result.error()));
    deletions.push_back({name, std::move(result), missing});
  }
  return deletions;
}

int run(const Arguments& arguments, Console& console) {
  return delete_by_name({.noun = "group",
                         .list = group_names,
                         .loss_of_one = "where it got to",
                         .loss_of_many = "where they got to",
                         .remove = remove},
                        arguments, console);
}

}  // namespace

Command group_delete_command() {
  Option groups = group_argument();
  groups.help = "The groups' names";
  groups.required = false;
  groups.repeatable = true;
  return {
      .path = "group delete",
      .summary = "Delete groups and what they have committed",
      .details =
          "Only groups without members. On a terminal it asks before it deletes; in a script it doesn't.\n",
      .options = with_connection({
          groups,
          {.names = "-m,--match",
           .value = "REGEX",
           .help = "Groups whose whole name matches",
           .check = regular_expression()},
          {.names = "--if-exists", .help = "Succeed when a group isn't there"},
          {.names = "-y,--yes", .help = "Don't ask"},
          output_option(),
      }),
      .run = run};
}

}  // namespace millrace::tools
