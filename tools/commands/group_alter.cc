// millrace group alter: a group's own settings.
#include <fmt/format.h>

#include "tools/commands/rows.h"
#include "tools/commands/setting_changes.h"
#include "tools/connect.h"

namespace millrace::tools {
namespace {

constexpr std::string_view kName = "group alter";

int run(const Arguments& arguments, Console& console) {
  const std::string group = arguments.text("group");
  const SettingChanges changes = SettingChanges::read(arguments);
  if (changes.empty()) {
    console.complain(kName, "nothing to change; give --set or --unset\nSee: millrace group alter --help");
    return kExitUsage;
  }
  const std::unique_ptr<Cluster> cluster = connect(arguments, console, kName);
  if (!cluster) return kExitFailed;
  const Result<void> altered = changes.apply(*cluster, ConfigResource::kGroup, group);
  if (!altered) {
    console.complain(kName, fmt::format("\"{}\": {}", group, altered.error().message));
    return kExitFailed;
  }
  if (!wants_json(arguments)) {
    console.write(fmt::format("Altered {}\n", group));
    return kExitDone;
  }
  Json json = Json::object();
  json.set("name", Json::name(group)).set("altered", true);
  changes.add_to(json);
  console.write(json.dump(2) + "\n");
  return kExitDone;
}

}  // namespace

Command group_alter_command() {
  std::vector<Option> options = {group_argument()};
  std::vector<Option> settings = setting_options();
  for (Option& option : settings) options.push_back(std::move(option));
  options.push_back(output_option());
  return {.path = "group alter",
          .summary = "Change a group's settings",
          .details =
              "For groups of type consumer (KIP-848): consumer.session.timeout.ms and\n"
              "consumer.heartbeat.interval.ms, within the broker's bounds (group.consumer.min. and .max.).\n"
              "They hold from each member's next heartbeat on. The group needn't exist yet, and keeps its\n"
              "settings when it is deleted. millrace group describe shows them.\n"
              "Example: millrace group alter billing --set consumer.session.timeout.ms=60000\n",
          .options = with_connection(std::move(options)),
          .run = run};
}

}  // namespace millrace::tools
