// DescribeConfigs: 3 adds types and documentation (KIP-226, KIP-569). AlterConfigs replaces a resource's
// whole configuration, IncrementalAlterConfigs changes single ones (KIP-339). ListConfigResources (KIP-1142).
#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "broker/api/handlers.h"
#include "protocol/messages/alter_configs.h"
#include "protocol/messages/describe_configs.h"
#include "protocol/messages/incremental_alter_configs.h"
#include "protocol/messages/list_config_resources.h"

namespace millrace::api {
namespace {

using metadata::AlterOp;
using metadata::AlterResource;
using metadata::AlterResult;
using metadata::ConfigEntry;
using metadata::Controller;
using metadata::ResourceType;
using protocol::AlterConfigsRequest;
using protocol::AlterConfigsResponse;
using protocol::DescribeConfigsRequest;
using protocol::DescribeConfigsResponse;
using protocol::IncrementalAlterConfigsRequest;
using protocol::IncrementalAlterConfigsResponse;
using protocol::ListConfigResourcesRequest;
using protocol::ListConfigResourcesResponse;

DescribeConfigsResponse::Resource::Config to_answer(Context& context, const ConfigEntry& entry,
                                                    const DescribeConfigsRequest& request) {
  DescribeConfigsResponse::Resource::Config config;
  config.name = context.text(entry.name);
  // Null, where the message's default is an empty text.
  config.value = entry.value ? std::optional(context.text(*entry.value)) : std::nullopt;
  config.read_only = entry.read_only;
  config.config_source = static_cast<int8_t>(entry.source);
  config.is_sensitive = entry.sensitive;
  config.config_type = static_cast<int8_t>(entry.type);
  config.documentation = std::nullopt;
  if (request.include_documentation) config.documentation = entry.documentation;
  if (!request.include_synonyms) return config;
  config.synonyms =
      context.arena.make_array<DescribeConfigsResponse::Resource::Config::Synonym>(entry.synonyms.size());
  for (size_t i = 0; i < entry.synonyms.size(); ++i) {
    config.synonyms[i].name = context.text(entry.synonyms[i].name);
    if (entry.synonyms[i].value) config.synonyms[i].value = context.text(*entry.synonyms[i].value);
    config.synonyms[i].source = static_cast<int8_t>(entry.synonyms[i].source);
  }
  return config;
}

std::optional<std::vector<std::string>> wanted_keys(const DescribeConfigsRequest::Resource& resource) {
  if (!resource.configuration_keys) return std::nullopt;
  return std::vector<std::string>(resource.configuration_keys->begin(), resource.configuration_keys->end());
}

// Alter and IncrementalAlter answer with structs of the same shape.
template <class Response>
void answer_altered(Context& context, const std::vector<AlterResult>& results, Response& response) {
  response.responses = context.arena.make_array<typename Response::Resource>(results.size());
  for (size_t i = 0; i < results.size(); ++i) {
    response.responses[i].error_code = results[i].error.code;
    response.responses[i].error_message = context.message(results[i].error.message);
    response.responses[i].resource_type = static_cast<int8_t>(results[i].type);
    response.responses[i].resource_name = context.text(results[i].name);
  }
}

std::optional<std::string> to_value(const std::optional<std::string_view>& value) {
  if (!value) return std::nullopt;
  return std::string(*value);
}

constexpr int8_t kResourceTypes[] = {
    static_cast<int8_t>(ResourceType::kTopic), static_cast<int8_t>(ResourceType::kBroker),
    static_cast<int8_t>(ResourceType::kBrokerLogger), static_cast<int8_t>(ResourceType::kClientMetrics),
    static_cast<int8_t>(ResourceType::kGroup)};

}  // namespace

void describe_configs(Context& context, const DescribeConfigsRequest& request,
                      DescribeConfigsResponse& response) {
  const metadata::ImagePtr image = context.image();
  // Each resource is answered once, or a small request that repeats one could have any amount of memory.
  std::set<std::pair<int8_t, std::string_view>> seen;
  std::vector<DescribeConfigsResponse::Resource> results;
  for (const auto& wanted : request.resources) {
    if (!seen.emplace(wanted.resource_type, wanted.resource_name).second) continue;
    auto& answer = results.emplace_back();
    answer.resource_type = wanted.resource_type;
    answer.resource_name = wanted.resource_name;
    const auto entries = context.services.describer.describe(
        *image, static_cast<ResourceType>(wanted.resource_type), wanted.resource_name, wanted_keys(wanted));
    if (!entries) {
      answer.error_code = entries.error().code;
      answer.error_message = context.message(entries.error().message);
      continue;
    }
    answer.configs = context.arena.make_array<DescribeConfigsResponse::Resource::Config>(entries->size());
    for (size_t c = 0; c < entries->size(); ++c)
      answer.configs[c] = to_answer(context, (*entries)[c], request);
  }
  response.results = context.arena.copy(results);
}

Task<> alter_configs(Context& context, const AlterConfigsRequest& request, AlterConfigsResponse& response) {
  std::vector<AlterResource> resources;
  for (const auto& wanted : request.resources) {
    AlterResource resource{.type = static_cast<ResourceType>(wanted.resource_type),
                           .name = std::string(wanted.resource_name)};
    for (const auto& config : wanted.configs) {
      resource.changes.push_back({std::string(config.name), AlterOp::kSet, to_value(config.value)});
    }
    resources.push_back(std::move(resource));
  }
  Controller& controller = context.services.controller;
  auto replace = [&] { return controller.replace_configs(std::move(resources), request.validate_only); };
  answer_altered(context, co_await context.services.home().call(replace), response);
}

Task<> incremental_alter_configs(Context& context, const IncrementalAlterConfigsRequest& request,
                                 IncrementalAlterConfigsResponse& response) {
  std::vector<AlterResource> resources;
  for (const auto& wanted : request.resources) {
    AlterResource resource{.type = static_cast<ResourceType>(wanted.resource_type),
                           .name = std::string(wanted.resource_name)};
    for (const auto& config : wanted.configs) {
      resource.changes.push_back(
          {std::string(config.name), static_cast<AlterOp>(config.config_operation), to_value(config.value)});
    }
    resources.push_back(std::move(resource));
  }
  Controller& controller = context.services.controller;
  auto alter = [&] { return controller.alter_configs(std::move(resources), request.validate_only); };
  answer_altered(context, co_await context.services.home().call(alter), response);
}

void list_config_resources(Context& context, const ListConfigResourcesRequest& request,
                           ListConfigResourcesResponse& response) {
  // Version 0 is the former ListClientMetricsResources; there are no client metrics here yet.
  if (context.version == 0) return;
  // Each type once, or a small request that repeats one could have any amount of memory.
  std::vector<int8_t> types;
  for (const int8_t type : request.resource_types) {
    if (std::ranges::find(types, type) == types.end()) types.push_back(type);
  }
  if (types.empty()) types.assign(std::begin(kResourceTypes), std::end(kResourceTypes));
  const metadata::ImagePtr image = context.image();
  std::vector<ListConfigResourcesResponse::ConfigResource> resources;
  const auto add = [&](std::string_view name, int8_t type) {
    auto& resource = resources.emplace_back();
    resource.resource_name = context.text(name);
    resource.resource_type = type;
  };
  for (const int8_t type : types) {
    if (std::find(std::begin(kResourceTypes), std::end(kResourceTypes), type) == std::end(kResourceTypes)) {
      response.error_code = ErrorCode::kUnsupportedVersion;
      return;
    }
    if (type == static_cast<int8_t>(ResourceType::kTopic)) {
      image->topics().for_each([&](const auto& topic) { add(topic->name, type); });
    } else if (type == static_cast<int8_t>(ResourceType::kBroker) ||
               type == static_cast<int8_t>(ResourceType::kBrokerLogger)) {
      for (const auto& [id, broker] : image->brokers()) add(std::to_string(id), type);
    } else if (type == static_cast<int8_t>(ResourceType::kGroup)) {
      image->all_group_configs().for_each([&](const auto& configs) { add(configs->group, type); });
    }
  }
  response.config_resources = context.arena.copy(resources);
}

}  // namespace millrace::api
