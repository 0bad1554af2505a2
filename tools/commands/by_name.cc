#include "tools/commands/by_name.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include "tools/confirm.h"
#include "tools/connect.h"
#include "tools/utf8.h"

namespace millrace::tools {
namespace {

// Adds what --match chooses to the names.
Result<void> add_matching(const Deletion& deletion, Cluster& cluster, const std::string& regex,
                          std::vector<std::string>& names) {
  const RE2 pattern(regex, RE2::Quiet);
  const Result<std::vector<std::string>> all = deletion.list(cluster);
  if (!all) return std::unexpected(all.error());
  for (const std::string& name : *all) {
    if (RE2::FullMatch(name, pattern)) names.push_back(name);
  }
  return {};
}

bool confirmed(const Deletion& deletion, Console& console, const std::vector<std::string>& names) {
  const bool one = names.size() == 1;
  std::string list;
  for (const std::string& name : names) list += fmt::format("\n  {}", visible(name));
  return confirm(console,
                 fmt::format("This deletes {} {}{}, and {}:{}\n", names.size(), deletion.noun, one ? "" : "s",
                             one ? deletion.loss_of_one : deletion.loss_of_many, list));
}

int delete_and_report(const Deletion& deletion, Cluster& cluster, const Arguments& arguments,
                      Console& console, const std::vector<std::string>& names) {
  const std::string command = fmt::format("{} delete", deletion.noun);
  const Result<std::vector<DeletionResult>> results = deletion.remove(cluster, names);
  if (!results) {
    console.complain(command, results.error().message);
    return kExitFailed;
  }
  int code = kExitDone;
  Json list = Json::list();
  for (const auto& [name, result, missing] : *results) {
    if (!result && !(missing && arguments.has("if-exists"))) {
      console.complain(command, result.error().message + (missing ? "; --if-exists lets that pass" : ""));
      code = kExitFailed;
    } else if (!wants_json(arguments)) {
      console.write(fmt::format("{}{}\n", missing ? "Not there: " : "Deleted ", visible(name)));
    }
    Json item = Json::object();
    item.set("name", Json::name(name)).set("deleted", result.has_value());
    item.set("error", result ? Json() : Json(error_name(result.error().code)));
    item.set("message", result ? Json() : Json(result.error().message));
    list.push(std::move(item));
  }
  if (wants_json(arguments)) console.write(list.dump(2) + "\n");
  return code;
}

}  // namespace

int delete_by_name(const Deletion& deletion, const Arguments& arguments, Console& console) {
  const std::string command = fmt::format("{} delete", deletion.noun);
  std::vector<std::string> names = arguments.all(std::string(deletion.noun));
  if (names.empty() && !arguments.has("match")) {
    console.complain(command,
                     fmt::format("which {}s? Name them, or give --match REGEX\nSee: millrace {} --help",
                                 deletion.noun, command));
    return kExitUsage;
  }
  const std::unique_ptr<Cluster> cluster = connect(arguments, console, command);
  if (!cluster) return kExitFailed;
  if (const std::optional<std::string> regex = arguments.maybe("match")) {
    if (Result<void> added = add_matching(deletion, *cluster, *regex, names); !added) {
      console.complain(command, added.error().message);
      return kExitFailed;
    }
    if (names.empty()) {
      console.complain(command, fmt::format("no {}'s whole name matches {}", deletion.noun, *regex));
      return arguments.has("if-exists") ? kExitDone : kExitFailed;
    }
  }
  if (console.in_is_terminal && !arguments.has("yes") && !confirmed(deletion, console, names)) {
    console.note("Nothing deleted.");
    return kExitFailed;
  }
  return delete_and_report(deletion, *cluster, arguments, console, names);
}

int describe_by_name(std::string_view noun, const Arguments& arguments, Console& console,
                     const std::function<Result<Described>(Cluster&, const std::string&)>& describe) {
  const std::string command = fmt::format("{} describe", noun);
  const std::unique_ptr<Cluster> cluster = connect(arguments, console, command);
  if (!cluster) return kExitFailed;
  int code = kExitDone;
  Json list = Json::list();
  bool first = true;
  for (const std::string& name : arguments.all(std::string(noun))) {
    Result<Described> described = describe(*cluster, name);
    if (!described) {
      console.complain(command, described.error().message);
      code = kExitFailed;
    } else if (wants_json(arguments)) {
      list.push(std::move(described->json));
    } else {
      console.write((first ? "" : "\n") + described->text);
      first = false;
    }
  }
  if (wants_json(arguments)) console.write(list.dump(2) + "\n");
  return code;
}

}  // namespace millrace::tools
