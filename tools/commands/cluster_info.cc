// millrace cluster info: who the brokers are, what they speak, and how much there is.
#include <fmt/format.h>

#include "tools/client/admin.h"
#include "tools/commands/rows.h"
#include "tools/connect.h"
#include "tools/json.h"
#include "tools/quantity.h"
#include "tools/table.h"

namespace millrace::tools {
namespace {

constexpr std::string_view kName = "cluster info";

struct BrokerState {
  BrokerInfo info;
  // Why it can't be reached; empty when it can.
  std::string problem;
  std::map<ApiKey, VersionRange> versions;
  std::vector<Feature> features;
};

struct Summary {
  std::string cluster_id;
  int32_t controller = -1;
  std::vector<BrokerState> brokers;
  int64_t topics = 0;
  int64_t internal_topics = 0;
  int64_t partitions = 0;
  int64_t without_leader = 0;
  int64_t under_replicated = 0;
  int64_t size_bytes = -1;
};

Result<Summary> summarise(Cluster& cluster) {
  Summary summary;
  const Result<std::vector<TopicInfo>> topics = cluster.describe_topics(std::nullopt);
  if (!topics) return std::unexpected(topics.error());
  for (const TopicInfo& topic : *topics) {
    ++(topic.internal ? summary.internal_topics : summary.topics);
    for (const PartitionInfo& partition : topic.partitions) {
      ++summary.partitions;
      if (partition.leader < 0) ++summary.without_leader;
      if (partition.isr.size() < partition.replicas.size()) ++summary.under_replicated;
    }
  }
  summary.cluster_id = cluster.cluster_id();
  summary.controller = cluster.controller_id();
  const std::vector<BrokerInfo> brokers = cluster.brokers();
  for (const BrokerInfo& info : brokers) {
    BrokerState& state = summary.brokers.emplace_back();
    state.info = info;
    const Result<Connection*> connection = cluster.broker(info.id);
    if (!connection) {
      state.problem = connection.error().message;
      continue;
    }
    state.versions = (*connection)->broker_versions();
    state.features = (*connection)->finalized_features();
  }
  if (const Result<PartitionSizes> sizes = partition_sizes(cluster, std::nullopt)) {
    summary.size_bytes = 0;
    for (const auto& [partition, size] : *sizes) summary.size_bytes += size;
  }
  return summary;
}

Json broker_json(const BrokerState& state, int32_t controller) {
  Json json = Json::object();
  json.set("id", int64_t{state.info.id})
      .set("host", state.info.address.host)
      .set("port", int64_t{state.info.address.port});
  json.set("rack", Json(state.info.rack)).set("controller", state.info.id == controller);
  json.set("reachable", state.problem.empty())
      .set("problem", state.problem.empty() ? Json() : Json(state.problem));
  Json features = Json::list();
  for (const Feature& feature : state.features) {
    Json item = Json::object();
    item.set("name", feature.name)
        .set("min_level", int64_t{feature.min_level})
        .set("max_level", int64_t{feature.max_level});
    features.push(std::move(item));
  }
  Json apis = Json::list();
  for (const auto& [key, range] : state.versions) {
    Json item = Json::object();
    const bool known = protocol::find_api(key) != nullptr;
    item.set("key", int64_t{static_cast<int16_t>(key)})
        .set("name", known ? Json(protocol::api_name(key)) : Json());
    item.set("min_version", int64_t{range.min}).set("max_version", int64_t{range.max});
    apis.push(std::move(item));
  }
  return std::move(json.set("features", std::move(features)).set("apis", std::move(apis)));
}

std::string as_json(const Summary& summary) {
  Json json = Json::object();
  json.set("cluster_id", summary.cluster_id);
  json.set("controller", summary.controller < 0 ? Json() : Json(int64_t{summary.controller}));
  Json brokers = Json::list();
  for (const BrokerState& state : summary.brokers) brokers.push(broker_json(state, summary.controller));
  json.set("brokers", std::move(brokers))
      .set("topics", summary.topics)
      .set("internal_topics", summary.internal_topics);
  json.set("partitions", summary.partitions).set("partitions_without_leader", summary.without_leader);
  json.set("under_replicated_partitions", summary.under_replicated);
  json.set("size_bytes", summary.size_bytes < 0 ? Json() : Json(summary.size_bytes));
  return json.dump(2) + "\n";
}

std::string as_text(const Summary& summary, bool apis, bool colour) {
  std::string text = fmt::format("Cluster     {}\n", styled(summary.cluster_id, Style::kBold, colour));
  text +=
      fmt::format("Controller  {}\n", summary.controller < 0 ? "none" : std::to_string(summary.controller));
  text += fmt::format("Topics      {} (and {} internal), {} partitions", summary.topics,
                      summary.internal_topics, summary.partitions);
  if (summary.size_bytes >= 0) text += ", " + format_size(static_cast<double>(summary.size_bytes));
  text += "\n";
  const auto warn = [&](int64_t count, std::string_view what) {
    if (count > 0)
      text += "            " + styled(fmt::format("{} partitions {}", count, what), Style::kYellow, colour) +
              "\n";
  };
  warn(summary.without_leader, "without leader");
  warn(summary.under_replicated, "under-replicated");
  Table brokers({">BROKER", "ADDRESS", "RACK", "STATE", ">APIS", "FEATURES"});
  for (const BrokerState& state : summary.brokers) {
    std::string features;
    for (const Feature& feature : state.features)
      features += fmt::format("{}{} {}", features.empty() ? "" : ", ", feature.name, feature.max_level);
    brokers.add({std::to_string(state.info.id), state.info.address.to_string(), state.info.rack.value_or("-"),
                 state.problem.empty() ? "up" : state.problem, std::to_string(state.versions.size()),
                 features.empty() ? "-" : features});
  }
  text += "\n" + brokers.render(colour);
  if (!apis || summary.brokers.empty()) return text;
  Table table({">KEY", "API", "VERSIONS"});
  for (const auto& [key, range] : summary.brokers.front().versions) {
    table.add({std::to_string(static_cast<int16_t>(key)), std::string(protocol::api_name(key)),
               fmt::format("{}-{}", range.min, range.max)});
  }
  return text + "\n" + table.render(colour);
}

int run(const Arguments& arguments, Console& console) {
  const std::unique_ptr<Cluster> cluster = connect(arguments, console, kName);
  if (!cluster) return kExitFailed;
  const Result<Summary> summary = summarise(*cluster);
  if (!summary) {
    console.complain(kName, summary.error().message);
    return kExitFailed;
  }
  console.write(wants_json(arguments) ? as_json(*summary)
                                      : as_text(*summary, arguments.has("apis"), console.colour_out));
  return kExitDone;
}

}  // namespace

Command cluster_info_command() {
  return {.path = "cluster info",
          .summary = "Show the cluster: brokers, features, counts",
          .details = "",
          .options = with_connection({
              {.names = "-a,--apis",
               .help = "The APIs and versions of the first broker too; JSON has them always"},
              output_option(),
          }),
          .run = run};
}

}  // namespace millrace::tools
