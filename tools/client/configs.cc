#include "tools/client/configs.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocol/messages/describe_configs.h"
#include "protocol/messages/incremental_alter_configs.h"

namespace millrace::tools {
namespace {

std::string source_name(int8_t source) {
  switch (source) {
    case 1:
      return "topic";
    case 2:
      return "broker (dynamic)";
    case 3:
      return "all brokers (dynamic)";
    case 4:
      return "broker";
    case 5:
      return "default";
    case 6:
      return "broker logger";
    case 8:
      return "group";
    default:
      return "unknown";
  }
}

constexpr int8_t kSourceDefault = 5;
constexpr int8_t kOperationSet = 0;
constexpr int8_t kOperationDelete = 1;

std::unexpected<Error> refused(ErrorCode code, const std::optional<std::string_view>& message) {
  return fail(code, message && !message->empty() ? fmt::format("{} ({})", *message, error_name(code))
                                                 : std::string(error_name(code)));
}

// Settings of a broker are known to that broker only.
std::function<Result<Connection*>()> whom_to_ask(Cluster& cluster, ConfigResource type,
                                                 const std::string& name) {
  if (type == ConfigResource::kBroker && !name.empty()) {
    return [&cluster, id = std::atoi(name.c_str())] { return cluster.broker(id); };
  }
  return [&cluster] { return cluster.any(); };
}

}  // namespace

Result<std::vector<ConfigEntry>> describe_configs(Cluster& cluster, ConfigResource type,
                                                  const std::string& name) {
  using Request = protocol::DescribeConfigsRequest;
  std::vector<Request::Resource> resources(1);
  resources[0].resource_type = static_cast<int8_t>(type);
  resources[0].resource_name = name;
  resources[0].configuration_keys.reset();
  Request request;
  request.resources = resources;
  auto reply = cluster.call<protocol::DescribeConfigsResponse>(whom_to_ask(cluster, type, name), request);
  if (!reply) return std::unexpected(reply.error());
  std::vector<ConfigEntry> entries;
  for (const auto& result : reply->message.results) {
    if (result.error_code != ErrorCode::kNone) return refused(result.error_code, result.error_message);
    for (const auto& config : result.configs) {
      ConfigEntry& entry = entries.emplace_back();
      entry.name = config.name;
      if (config.value) entry.value = std::string(*config.value);
      entry.source = source_name(config.config_source);
      entry.is_default = config.config_source == kSourceDefault;
      entry.read_only = config.read_only;
      entry.sensitive = config.is_sensitive;
    }
  }
  std::sort(entries.begin(), entries.end(),
            [](const ConfigEntry& a, const ConfigEntry& b) { return a.name < b.name; });
  return entries;
}

Result<void> alter_configs(Cluster& cluster, ConfigResource type, const std::string& name,
                           const std::vector<std::pair<std::string, std::string>>& set,
                           const std::vector<std::string>& unset) {
  using Request = protocol::IncrementalAlterConfigsRequest;
  std::vector<Request::Resource::Config> configs;
  for (const auto& [key, value] : set) {
    Request::Resource::Config& config = configs.emplace_back();
    config.name = key;
    config.config_operation = kOperationSet;
    config.value = value;
  }
  for (const std::string& key : unset) {
    Request::Resource::Config& config = configs.emplace_back();
    config.name = key;
    config.config_operation = kOperationDelete;
    config.value.reset();
  }
  std::vector<Request::Resource> resources(1);
  resources[0].resource_type = static_cast<int8_t>(type);
  resources[0].resource_name = name;
  resources[0].configs = configs;
  Request request;
  request.resources = resources;
  auto reply =
      cluster.call<protocol::IncrementalAlterConfigsResponse>(whom_to_ask(cluster, type, name), request);
  if (!reply) return std::unexpected(reply.error());
  for (const auto& answer : reply->message.responses) {
    if (answer.error_code != ErrorCode::kNone) return refused(answer.error_code, answer.error_message);
  }
  return {};
}

}  // namespace millrace::tools
