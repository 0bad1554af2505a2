// millrace topic create: makes a topic, with partitions, replicas and settings.
#include <fmt/format.h>

#include "tools/client/admin.h"
#include "tools/commands/rows.h"
#include "tools/connect.h"
#include "tools/json.h"

namespace millrace::tools {
namespace {

constexpr std::string_view kName = "topic create";

NewTopic read_arguments(const Arguments& arguments) {
  NewTopic topic;
  topic.name = arguments.text("topic");
  topic.partitions = static_cast<int32_t>(arguments.integer("partitions", -1));
  topic.replication_factor = static_cast<int16_t>(arguments.integer("replication-factor", -1));
  for (const std::string& config : arguments.all("config")) {
    const size_t equals = config.find('=');
    topic.configs.emplace_back(config.substr(0, equals), config.substr(equals + 1));
  }
  return topic;
}

void print(const Arguments& arguments, Console& console, const std::string& name, const CreatedTopic& created,
           bool made) {
  if (wants_json(arguments)) {
    Json json = Json::object();
    json.set("name", name).set("created", made).set("validated_only", arguments.has("validate-only"));
    json.set("id", created.id.is_zero() ? Json() : Json(created.id.to_string()));
    json.set("partitions", created.partitions < 0 ? Json() : Json(int64_t{created.partitions}));
    json.set("replication_factor",
             created.replication_factor < 0 ? Json() : Json(int64_t{created.replication_factor}));
    console.write(json.dump(2) + "\n");
    return;
  }
  std::string size;
  if (created.partitions > 0) {
    size =
        fmt::format(" ({} partition{}, {} replica{})", created.partitions, created.partitions == 1 ? "" : "s",
                    created.replication_factor, created.replication_factor == 1 ? "" : "s");
  }
  const std::string_view what = arguments.has("validate-only") ? "Could be created: "
                                : made                         ? "Created "
                                                               : "Already there: ";
  console.write(fmt::format("{}{}{}\n", what, name, size));
}

int run(const Arguments& arguments, Console& console) {
  const std::unique_ptr<Cluster> cluster = connect(arguments, console, kName);
  if (!cluster) return kExitFailed;
  const NewTopic topic = read_arguments(arguments);
  const Result<CreatedTopic> created = create_topic(*cluster, topic, arguments.has("validate-only"));
  if (created) {
    print(arguments, console, topic.name, *created, !arguments.has("validate-only"));
    return kExitDone;
  }
  if (created.error().code == ErrorCode::kTopicAlreadyExists && arguments.has("if-not-exists")) {
    print(arguments, console, topic.name, {}, false);
    return kExitDone;
  }
  std::string message = fmt::format("\"{}\": {}", topic.name, created.error().message);
  if (created.error().code == ErrorCode::kTopicAlreadyExists) message += "; --if-not-exists lets that pass";
  console.complain(kName, message);
  return kExitFailed;
}

}  // namespace

Command topic_create_command() {
  return {
      .path = "topic create",
      .summary = "Create a topic",
      .details =
          "Example: millrace topic create orders -p 6 -c retention.ms=86400000 -c compression.type=zstd\n",
      .options = with_connection({
          topic_argument(),
          {.names = "-p,--partitions",
           .value = "N",
           .help = "Number of partitions; without it the broker's default",
           .check = integer(1, 1'000'000)},
          {.names = "-r,--replication-factor",
           .value = "N",
           .help = "Number of replicas; without it the broker's default",
           .check = integer(1, 32'767)},
          {.names = "-c,--config",
           .value = "NAME=VALUE",
           .help = "A setting, by Kafka's name",
           .check = assignment(),
           .repeatable = true},
          {.names = "--if-not-exists", .help = "Succeed when the topic is already there"},
          {.names = "--validate-only", .help = "Ask whether it could be created, and don't"},
          output_option(),
      }),
      .run = run};
}

}  // namespace millrace::tools
