// millrace topic delete: deletes topics, by name or by regular expression.
#include <fmt/format.h>

#include <algorithm>

#include "tools/client/admin.h"
#include "tools/commands/by_name.h"
#include "tools/commands/rows.h"
#include "tools/connect.h"
#include "tools/regular_expression.h"

namespace millrace::tools {
namespace {

constexpr std::string_view kGroupsTopic = "__consumer_offsets";

// Internal topics are only deleted by name.
Result<std::vector<std::string>> topic_names(Cluster& cluster) {
  Result<std::vector<TopicInfo>> topics = cluster.describe_topics(std::nullopt);
  if (!topics) return std::unexpected(topics.error());
  std::vector<std::string> names;
  for (const TopicInfo& topic : *topics) {
    if (!topic.internal) names.push_back(topic.name);
  }
  return names;
}

Result<std::vector<DeletionResult>> remove(Cluster& cluster, const std::vector<std::string>& names) {
  Result<std::vector<Result<void>>> results = delete_topics(cluster, names);
  if (!results) return std::unexpected(results.error());
  std::vector<DeletionResult> deletions;
  for (size_t i = 0; i < names.size(); ++i) {
    Result<void>& result = (*results)[i];
    const bool missing = !result && result.error().code == ErrorCode::kUnknownTopicOrPartition;
    if (missing) {
      result = std::unexpected(cluster.no_such_topic(names[i]));
    } else if (!result) {
      result = fail(result.error().code, fmt::format("\"{}\": {}", names[i], result.error().message));
    }
    deletions.push_back({names[i], std::move(result), missing});
  }
  return deletions;
}

int run(const Arguments& arguments, Console& console) {
  const std::vector<std::string> names = arguments.all("topic");
  if (std::ranges::find(names, kGroupsTopic) != names.end() && !arguments.has("force")) {
    console.complain(
        "topic delete",
        fmt::format("{} keeps what consumer groups have committed: without it every group loses its "
                    "place. --force deletes it all the same",
                    kGroupsTopic));
    return kExitUsage;
  }
  return delete_by_name({.noun = "topic",
                         .list = topic_names,
                         .loss_of_one = "all records in it",
                         .loss_of_many = "all records in them",
                         .remove = remove},
                        arguments, console);
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
              {.names = "--force", .help = "Even __consumer_offsets, with the places of all groups"},
              output_option(),
          }),
          .run = run};
}

}  // namespace millrace::tools
