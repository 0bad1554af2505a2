// millrace topic alter: more partitions, other settings.
#include <fmt/format.h>

#include "tools/client/admin.h"
#include "tools/client/configs.h"
#include "tools/commands/rows.h"
#include "tools/connect.h"
#include "tools/json.h"

namespace millrace::tools {
namespace {

constexpr std::string_view kName = "topic alter";

// Why the broker refused, in the words of all commands for a topic that isn't there.
std::string refusal(Cluster& cluster, const std::string& topic, const Error& error) {
  if (error.code == ErrorCode::kUnknownTopicOrPartition) return cluster.no_such_topic(topic).message;
  return fmt::format("\"{}\": {}", topic, error.message);
}

int run(const Arguments& arguments, Console& console) {
  const std::string topic = arguments.text("topic");
  std::vector<std::pair<std::string, std::string>> set;
  for (const std::string& config : arguments.all("set")) {
    const size_t equals = config.find('=');
    set.emplace_back(config.substr(0, equals), config.substr(equals + 1));
  }
  const std::vector<std::string> unset = arguments.all("unset");
  if (set.empty() && unset.empty() && !arguments.has("partitions")) {
    console.complain(
        kName, "nothing to change; give --partitions, --set or --unset\nSee: millrace topic alter --help");
    return kExitUsage;
  }
  const std::unique_ptr<Cluster> cluster = connect(arguments, console, kName);
  if (!cluster) return kExitFailed;
  // Settings first: they are refused more often, and then nothing has changed yet.
  if (!set.empty() || !unset.empty()) {
    const Result<void> altered = alter_configs(*cluster, ConfigResource::kTopic, topic, set, unset);
    if (!altered) {
      console.complain(kName, refusal(*cluster, topic, altered.error()));
      return kExitFailed;
    }
  }
  if (arguments.has("partitions")) {
    const Result<void> created =
        create_partitions(*cluster, topic, static_cast<int32_t>(arguments.integer("partitions")));
    if (!created) {
      console.complain(kName, refusal(*cluster, topic, created.error()) +
                                  (set.empty() && unset.empty() ? "" : "; the settings were changed"));
      return kExitFailed;
    }
  }
  if (!wants_json(arguments)) {
    console.write(fmt::format("Altered {}\n", topic));
    return kExitDone;
  }
  Json json = Json::object();
  json.set("name", topic).set("altered", true);
  json.set("partitions", arguments.has("partitions") ? Json(arguments.integer("partitions")) : Json());
  Json set_json = Json::object();
  for (const auto& [name, value] : set) set_json.set(name, value);
  Json unset_json = Json::list();
  for (const std::string& name : unset) unset_json.push(name);
  json.set("set", std::move(set_json)).set("unset", std::move(unset_json));
  console.write(json.dump(2) + "\n");
  return kExitDone;
}

}  // namespace

Command topic_alter_command() {
  return {
      .path = "topic alter",
      .summary = "Change a topic's settings or add partitions",
      .details =
          "Partitions can be added, never taken away; records stay where they are, so the partition of a "
          "key\n"
          "changes. Example: millrace topic alter orders --set retention.ms=3600000 --unset cleanup.policy\n",
      .options = with_connection({
          topic_argument(),
          {.names = "-p,--partitions",
           .value = "N",
           .help = "Number of partitions afterwards",
           .check = integer(1, 1'000'000)},
          {.names = "-s,--set",
           .aliases = "--add-config,--config",
           .value = "NAME=VALUE",
           .help = "Change a setting",
           .check = assignment(),
           .repeatable = true},
          {.names = "-u,--unset",
           .aliases = "--delete-config",
           .value = "NAME",
           .help = "Give a setting its default again",
           .repeatable = true},
          output_option(),
      }),
      .run = run};
}

}  // namespace millrace::tools
