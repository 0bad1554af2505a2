// millrace topic alter: more partitions, other settings.
#include <fmt/format.h>

#include "tools/client/admin.h"
#include "tools/commands/rows.h"
#include "tools/commands/setting_changes.h"
#include "tools/connect.h"

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
  const SettingChanges changes = SettingChanges::read(arguments);
  if (changes.empty() && !arguments.has("partitions")) {
    console.complain(
        kName, "nothing to change; give --partitions, --set or --unset\nSee: millrace topic alter --help");
    return kExitUsage;
  }
  const std::unique_ptr<Cluster> cluster = connect(arguments, console, kName);
  if (!cluster) return kExitFailed;
  // Settings first: they are refused more often, and then nothing has changed yet.
  if (!changes.empty()) {
    const Result<void> altered = changes.apply(*cluster, ConfigResource::kTopic, topic);
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
                                  (changes.empty() ? "" : "; the settings were changed"));
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
  changes.add_to(json);
  console.write(json.dump(2) + "\n");
  return kExitDone;
}

}  // namespace

Command topic_alter_command() {
  std::vector<Option> options = {topic_argument(),
                                 {.names = "-p,--partitions",
                                  .value = "N",
                                  .help = "Number of partitions afterwards",
                                  .check = integer(1, 1'000'000)}};
  std::vector<Option> settings = setting_options();
  for (Option& option : settings) options.push_back(std::move(option));
  options.push_back(output_option());
  return {
      .path = "topic alter",
      .summary = "Change a topic's settings or add partitions",
      .details =
          "Partitions can be added, never taken away; records stay where they are, so the partition of a "
          "key\n"
          "changes. Example: millrace topic alter orders --set retention.ms=3600000 --unset cleanup.policy\n",
      .options = with_connection(std::move(options)),
      .run = run};
}

}  // namespace millrace::tools
