#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "broker/metadata/group_config.h"
#include "broker/metadata/metadata_codec.h"
#include "broker/metadata/plan.h"

namespace millrace::metadata {
namespace {

// One resource: its configurations so far, what they may be, and where they are kept.
struct Target {
  ResourceType type;
  ConfigMap configs;
  std::string key;
  bool is_cluster = false;  // the default of all brokers
  std::span<const Setting> table;
};

std::unexpected<Error> invalid_request(std::string why) {
  return fail(ErrorCode::kInvalidRequest, std::move(why));
}

std::string bracketed(const std::vector<std::string>& names) {
  return fmt::format("[{}]", fmt::join(names, ", "));
}

Result<> check_changes(const AlterResource& resource) {
  std::set<std::string_view> names;
  std::vector<std::string> nulls;
  for (const ConfigChange& change : resource.changes) {
    if (!names.insert(change.name).second) return invalid_request("Error due to duplicate config keys");
    if (change.op != AlterOp::kDelete && !change.value) nulls.push_back(change.name);
  }
  if (!nulls.empty()) {
    return invalid_request(fmt::format("Null value not supported for : {}", fmt::join(nulls, ", ")));
  }
  return {};
}

Result<Target> topic_target(const PlanContext& context, const std::string& name) {
  if (name.empty()) return invalid_request("Default topic resources are not allowed.");
  if (const auto why = check_topic_name(name)) {
    return fail(ErrorCode::kInvalidTopicException, "Topic name is invalid: " + *why);
  }
  const TopicPtr topic = context.image.topic(name);
  if (!topic) {
    return fail(ErrorCode::kUnknownTopicOrPartition, fmt::format("The topic '{}' does not exist.", name));
  }
  return Target{ResourceType::kTopic, topic->configs, topic_config_key(name), false, topic_settings()};
}

Result<Target> broker_target(const PlanContext& context, const std::string& name) {
  if (name.empty()) {
    return Target{ResourceType::kBroker, context.image.cluster_configs(), broker_config_key(kNoBroker), true,
                  broker_settings()};
  }
  int32_t id = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
  if (error != std::errc() || end != name.data() + name.size()) {
    return invalid_request(fmt::format("Node id must be an integer, but it is: {}", name));
  }
  if (id != context.node_id) {
    return invalid_request(
        fmt::format("Unexpected broker id, expected {}, but received {}", context.node_id, name));
  }
  return Target{ResourceType::kBroker, context.image.broker_configs(id), broker_config_key(id), false,
                broker_settings()};
}

// The group needn't exist: its members may come later.
Result<Target> group_target(const PlanContext& context, const std::string& name) {
  if (name.empty()) return invalid_request("Default group resources are not allowed.");
  return Target{ResourceType::kGroup, context.image.group_configs(name), group_config_key(name), false,
                group_settings()};
}

Result<Target> find_target(const PlanContext& context, const AlterResource& resource) {
  switch (resource.type) {
    case ResourceType::kTopic:
      return topic_target(context, resource.name);
    case ResourceType::kBroker:
      return broker_target(context, resource.name);
    case ResourceType::kGroup:
      return group_target(context, resource.name);
    default:
      return invalid_request(fmt::format("Unknown resource type {}", static_cast<int>(resource.type)));
  }
}

// The list that an append or subtract starts from: the resource's own, else what holds without it.
std::vector<std::string> current_list(const PlanContext& context, const Target& target,
                                      const Setting& setting) {
  if (const auto own = target.configs.find(setting.name); own != target.configs.end())
    return parse_list(own->second);
  if (target.type == ResourceType::kTopic) {
    return parse_list(topic_default(setting, broker_values(context.config, context.image, context.node_id)));
  }
  return parse_list(context.config.get(setting.name).value_or(""));
}

Result<> change_list(const PlanContext& context, Target& target, const ConfigChange& change) {
  const Setting* setting = find_setting(target.table, change.name);
  const bool append = change.op == AlterOp::kAppend;
  if (setting == nullptr || setting->type != ConfigType::kList) {
    return fail(ErrorCode::kInvalidConfig, fmt::format("Can't {} to key {} because its type is not LIST.",
                                                       append ? "APPEND" : "SUBTRACT", change.name));
  }
  std::vector<std::string> items = current_list(context, target, *setting);
  for (const std::string& item : parse_list(*change.value)) {
    const auto at = std::ranges::find(items, item);
    if (append && at == items.end()) items.push_back(item);
    if (!append && at != items.end()) items.erase(at);
  }
  target.configs[change.name] = fmt::format("{}", fmt::join(items, ","));
  return {};
}

Result<> apply_change(const PlanContext& context, Target& target, const ConfigChange& change) {
  switch (change.op) {
    case AlterOp::kSet:
      target.configs[change.name] = *change.value;
      return {};
    case AlterOp::kDelete:
      target.configs.erase(change.name);
      return {};
    case AlterOp::kAppend:
    case AlterOp::kSubtract:
      return change_list(context, target, change);
  }
  return invalid_request(fmt::format("Unknown operation type {}", static_cast<int>(change.op)));
}

// What a broker's dynamic configurations must be. Names that the table doesn't know pass: they may be a
// plugin's.
Result<> check_broker_configs(const Target& target, const AlterResource& resource) {
  std::vector<std::string> fixed, per_broker;
  for (const ConfigChange& change : resource.changes) {
    const Setting* setting = find_setting(target.table, change.name);
    if (setting == nullptr || change.op == AlterOp::kDelete) continue;
    if (setting->scope == Scope::kReadOnly) fixed.push_back(change.name);
    if (setting->scope == Scope::kPerBroker && target.is_cluster) per_broker.push_back(change.name);
  }
  if (!fixed.empty()) {
    return invalid_request("Cannot update these configs dynamically: " + bracketed(fixed));
  }
  if (!per_broker.empty()) {
    return invalid_request(
        "Cannot update these configs at default cluster level, broker id must be specified: " +
        bracketed(per_broker));
  }
  for (const auto& [name, value] : target.configs) {
    const Setting* setting = find_setting(target.table, name);
    if (setting == nullptr) continue;
    // Kafka's own code for a broker's bad value is not that for a topic's.
    if (Result<> checked = check_value(*setting, value); !checked)
      return invalid_request(checked.error().message);
  }
  return {};
}

Result<> check_configs(const PlanContext& context, const Target& target, const AlterResource& resource) {
  switch (target.type) {
    case ResourceType::kTopic:
      return check_topic_configs(target.configs,
                                 broker_values(context.config, context.image, context.node_id));
    case ResourceType::kGroup:
      return check_group_configs(target.configs,
                                 broker_config(context.config, context.image, context.node_id));
    default:
      return check_broker_configs(target, resource);
  }
}

Result<> alter(const PlanContext& context, const AlterResource& resource, bool replace,
               Transaction& transaction) {
  if (Result<> checked = check_changes(resource); !checked) return checked;
  Result<Target> target = find_target(context, resource);
  if (!target) return std::unexpected(target.error());
  const ConfigMap before = target->configs;
  if (replace) target->configs.clear();
  for (const ConfigChange& change : resource.changes) {
    if (Result<> applied = apply_change(context, *target, change); !applied) return applied;
  }
  if (Result<> checked = check_configs(context, *target, resource); !checked) return checked;
  if (target->configs == before) return {};
  if (target->configs.empty()) {
    transaction.operations.push_back(Operation::remove(target->key));
  } else {
    transaction.operations.push_back(Operation::put(target->key, encode_configs(target->configs)));
  }
  return {};
}

}  // namespace

Plan<AlterResult> plan_alter_configs(const PlanContext& context, const std::vector<AlterResource>& resources,
                                     bool replace) {
  Plan<AlterResult> plan;
  std::map<std::pair<ResourceType, std::string>, int> count;
  for (const AlterResource& resource : resources) ++count[{resource.type, resource.name}];
  for (const AlterResource& resource : resources) {
    AlterResult& result = plan.results.emplace_back(AlterResult{resource.type, resource.name});
    if (count[{resource.type, resource.name}] > 1) {
      result.error = {ErrorCode::kInvalidRequest, "Each resource must appear at most once."};
    } else if (Result<> altered = alter(context, resource, replace, plan.transaction); !altered) {
      result.error = altered.error();
    } else {
      plan.changed.push_back(plan.results.size() - 1);
    }
  }
  return plan;
}

}  // namespace millrace::metadata
