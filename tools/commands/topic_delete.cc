// millrace topic delete: deletes topics, by name or by regular expression.
#include <fmt/format.h>
#include <re2/re2.h>

#include "tools/client/admin.h"
#include "tools/commands/rows.h"
#include "tools/confirm.h"
#include "tools/connect.h"
#include "tools/json.h"
#include "tools/regular_expression.h"

namespace millrace::tools {
namespace {

constexpr std::string_view kName = "topic delete";

// The topics that are there and match; internal ones never do.
Result<std::vector<std::string>> matching(Cluster& cluster, const std::string& regex) {
  const RE2 pattern(regex, RE2::Quiet);
  Result<std::vector<TopicInfo>> topics = cluster.describe_topics(std::nullopt);
  if (!topics) return std::unexpected(topics.error());
  std::vector<std::string> names;
  for (const TopicInfo& topic : *topics) {
    if (!topic.internal && RE2::FullMatch(topic.name, pattern)) names.push_back(topic.name);
  }
  return names;
}

bool confirmed(Console& console, const std::vector<std::string>& names) {
  return confirm(console, fmt::format("This deletes {} topic{} and all records in {}:\n  {}\n", names.size(),
                                      names.size() == 1 ? "" : "s", names.size() == 1 ? "it" : "them",
                                      fmt::join(names, "\n  ")));
}

int delete_and_report(Cluster& cluster, const Arguments& arguments, Console& console,
                      const std::vector<std::string>& names) {
  Result<std::vector<Result<void>>> results = delete_topics(cluster, names);
  if (!results) {
    console.complain(kName, results.error().message);
    return kExitFailed;
  }
  int code = kExitDone;
  Json list = Json::list();
  for (size_t i = 0; i < names.size(); ++i) {
    Result<void>& result = (*results)[i];
    const bool missing = !result && result.error().code == ErrorCode::kUnknownTopicOrPartition;
    if (missing) result = std::unexpected(cluster.no_such_topic(names[i]));
    const bool failed = !result && !(missing && arguments.has("if-exists"));
    if (failed) {
      console.complain(kName, missing ? result.error().message + "; --if-exists lets that pass"
                                      : fmt::format("\"{}\": {}", names[i], result.error().message));
      code = kExitFailed;
    } else if (!wants_json(arguments)) {
      console.write(fmt::format("{}{}\n", missing ? "Not there: " : "Deleted ", names[i]));
    }
    Json item = Json::object();
    item.set("name", names[i]).set("deleted", result.has_value());
    item.set("error", result ? Json() : Json(error_name(result.error().code)));
    item.set("message", result ? Json() : Json(result.error().message));
    list.push(std::move(item));
  }
  if (wants_json(arguments)) console.write(list.dump(2) + "\n");
  return code;
}

int run(const Arguments& arguments, Console& console) {
  std::vector<std::string> names = arguments.all("topic");
  if (names.empty() && !arguments.has("match")) {
    console.complain(kName,
                     "which topics? Name them, or give --match REGEX\nSee: millrace topic delete --help");
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
      console.complain(kName, fmt::format("no topic's whole name matches {}", *regex));
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

Command topic_delete_command() {
  Option topics = topic_argument();
  topics.help = "The topics' names";
  topics.required = false;
  topics.repeatable = true;
  return {.path = "topic delete",
          .summary = "Delete topics and all their records",
          .details = "On a terminal it asks before it deletes; in a script it doesn't.\n",
          .options = with_connection({
              topics,
              {.names = "-m,--match",
               .value = "REGEX",
               .help = "Topics whose whole name matches; never internal ones",
               .check = regular_expression()},
              {.names = "--if-exists", .help = "Succeed when a topic isn't there"},
              {.names = "-y,--yes", .help = "Don't ask"},
              output_option(),
          }),
          .run = run};
}

}  // namespace millrace::tools
