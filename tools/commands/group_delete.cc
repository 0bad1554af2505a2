// millrace group delete: deletes groups and all that they have committed.
#include <fmt/format.h>
#include <re2/re2.h>

#include "tools/client/groups.h"
#include "tools/commands/rows.h"
#include "tools/confirm.h"
#include "tools/connect.h"
#include "tools/json.h"
#include "tools/regular_expression.h"

namespace millrace::tools {
namespace {

constexpr std::string_view kName = "group delete";

Result<std::vector<std::string>> matching(Cluster& cluster, const std::string& regex) {
  const RE2 pattern(regex, RE2::Quiet);
  Result<std::vector<GroupListing>> groups = list_groups(cluster);
  if (!groups) return std::unexpected(groups.error());
  std::vector<std::string> names;
  for (const GroupListing& group : *groups) {
    if (RE2::FullMatch(group.name, pattern)) names.push_back(group.name);
  }
  return names;
}

bool confirmed(Console& console, const std::vector<std::string>& names) {
  return confirm(console, fmt::format("This deletes {} group{}, and where {} got to:\n  {}\n", names.size(),
                                      names.size() == 1 ? "" : "s", names.size() == 1 ? "it" : "they",
                                      fmt::join(names, "\n  ")));
}

// The result in words that say what to do.
Error explained(Cluster& cluster, const std::string& name, const Error& error) {
  if (error.code == ErrorCode::kGroupIdNotFound) return no_such_group(cluster, name);
  if (error.code != ErrorCode::kNonEmptyGroup)
    return {error.code, fmt::format("group \"{}\": {}", name, error.message)};
  return {error.code,
          fmt::format(
              "group \"{}\" has members; stop them first (millrace group describe {} shows them; one that "
              "was killed counts until its session times out)",
              name, name)};
}

int delete_and_report(Cluster& cluster, const Arguments& arguments, Console& console,
                      const std::vector<std::string>& names) {
  Result<std::map<std::string, Result<void>>> results = delete_groups(cluster, names);
  if (!results) {
    console.complain(kName, results.error().message);
    return kExitFailed;
  }
  int code = kExitDone;
  Json list = Json::list();
  for (auto& [name, result] : *results) {
    const bool missing = !result && result.error().code == ErrorCode::kGroupIdNotFound;
    if (!result) result = std::unexpected(explained(cluster, name, result.error()));
    if (!result && !(missing && arguments.has("if-exists"))) {
      console.complain(kName, result.error().message + (missing ? "; --if-exists lets that pass" : ""));
      code = kExitFailed;
    } else if (!wants_json(arguments)) {
      console.write(fmt::format("{}{}\n", missing ? "Not there: " : "Deleted ", name));
    }
    Json item = Json::object();
    item.set("name", name).set("deleted", result.has_value());
    item.set("error", result ? Json() : Json(error_name(result.error().code)));
    item.set("message", result ? Json() : Json(result.error().message));
    list.push(std::move(item));
  }
  if (wants_json(arguments)) console.write(list.dump(2) + "\n");
  return code;
}

int run(const Arguments& arguments, Console& console) {
  std::vector<std::string> names = arguments.all("group");
  if (names.empty() && !arguments.has("match")) {
    console.complain(kName,
                     "which groups? Name them, or give --match REGEX\nSee: millrace group delete --help");
    return kExitUsage;
  }
  const std::unique_ptr<Cluster> cluster = connect(arguments, console, kName);
  if (!cluster) return kExitFailed;
  if (const std::optional<std::string> regex = arguments.maybe("match")) {
    Result<std::vector<std::string>> found = matching(*cluster, *regex);
    if (!found) {
      console.complain(kName, found.error().message);
      return kExitFailed;
    }
    names.insert(names.end(), found->begin(), found->end());
    if (names.empty()) {
      console.complain(kName, fmt::format("no group's whole name matches {}", *regex));
      return arguments.has("if-exists") ? kExitDone : kExitFailed;
    }
  }
  if (console.in_is_terminal && !arguments.has("yes") && !confirmed(console, names)) {
    console.note("Nothing deleted.");
    return kExitFailed;
  }
  return delete_and_report(*cluster, arguments, console, names);
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
