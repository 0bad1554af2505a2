#include "broker/metadata/config_describer.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "broker/metadata/group_config.h"

namespace millrace::metadata {
namespace {

constexpr size_t kMaxTopicNameSize = 249;

std::optional<std::string> shown(const Setting& setting, const std::optional<std::string>& value) {
  if (!value || setting.sensitive) return std::nullopt;
  return canonical_value(setting, *value);
}

void take_first(ConfigEntry& entry) {
  if (entry.synonyms.empty()) return;
  entry.value = entry.synonyms.front().value;
  entry.source = entry.synonyms.front().source;
}

ConfigEntry entry_of(const Setting& setting) {
  return {.name = std::string(setting.name),
          .source = ConfigSource::kDefault,
          .read_only = false,
          .sensitive = setting.sensitive,
          .type = setting.type,
          .documentation = setting.documentation};
}

void keep(std::vector<ConfigEntry>& entries, const std::optional<std::vector<std::string>>& keys) {
  // An empty list too means all, as in Kafka.
  if (!keys || keys->empty()) return;
  std::erase_if(entries,
                [&](const ConfigEntry& e) { return std::ranges::find(*keys, e.name) == keys->end(); });
}

// Dynamic configurations that the table doesn't know are kept, but not shown: they may be secrets.
ConfigEntry unknown_entry(const std::string& name, ConfigSource source) {
  return {.name = name,
          .value = std::nullopt,
          .source = source,
          .read_only = true,
          .sensitive = true,
          .type = ConfigType::kUnknown,
          .synonyms = {{name, std::nullopt, source}}};
}

}  // namespace

std::optional<std::string> check_topic_name(std::string_view name) {
  if (name.empty()) return "the empty string is not allowed";
  if (name == "." || name == "..") return fmt::format("'{}' is not allowed", name);
  if (name.size() > kMaxTopicNameSize) {
    return fmt::format("the length of '{}' is longer than the max allowed length {}", name,
                       kMaxTopicNameSize);
  }
  constexpr std::string_view kCharacters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  if (name.find_first_not_of(kCharacters) != std::string_view::npos) {
    return fmt::format(
        "'{}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'", name);
  }
  return std::nullopt;
}

// Every place that gives this broker's setting a value, the effective one first.
std::vector<ConfigSynonym> ConfigDescriber::broker_synonyms(const ClusterImage& image,
                                                            const Setting& setting) const {
  std::vector<ConfigSynonym> synonyms;
  const std::string name(setting.name);
  const auto add = [&](const std::optional<std::string>& value, ConfigSource source) {
    synonyms.push_back({name, shown(setting, value), source});
  };
  const auto add_dynamic = [&](const ConfigMap& configs, ConfigSource source) {
    const auto at = configs.find(setting.name);
    if (at != configs.end() && check_value(setting, at->second)) add(at->second, source);
  };
  if (setting.scope != Scope::kReadOnly) {
    add_dynamic(image.broker_configs(node_id_), ConfigSource::kDynamicBroker);
    add_dynamic(image.cluster_configs(), ConfigSource::kDynamicDefaultBroker);
  }
  if (config_.is_set(setting.name)) add(config_.get(setting.name), ConfigSource::kStaticBroker);
  if (setting.default_value) add(std::string(*setting.default_value), ConfigSource::kDefault);
  return synonyms;
}

// A setting whose default the broker's settings give.
ConfigEntry ConfigDescriber::with_broker_default(const ClusterImage& image, const Setting& setting,
                                                 const ConfigMap& configs, ConfigSource own_source,
                                                 const BrokerValue& broker) const {
  ConfigEntry entry = entry_of(setting);
  const auto own = configs.find(setting.name);
  if (own != configs.end()) entry.synonyms.push_back({entry.name, shown(setting, own->second), own_source});
  for (std::string_view name : setting.broker_names) {
    for (ConfigSynonym& synonym : broker_synonyms(image, *find_setting(broker_settings(), name)))
      entry.synonyms.push_back(std::move(synonym));
  }
  take_first(entry);
  // In the setting's own unit, where the broker's counts hours.
  if (own == configs.end()) entry.value = shown(setting, topic_default(setting, broker));
  return entry;
}

std::vector<ConfigEntry> ConfigDescriber::topic(const ClusterImage& image, const ConfigMap& configs) const {
  std::vector<ConfigEntry> entries;
  const BrokerValue broker = broker_values(config_, image, node_id_);
  for (const Setting& setting : topic_settings()) {
    if (!setting.default_value && !configs.contains(setting.name)) continue;
    entries.push_back(with_broker_default(image, setting, configs, ConfigSource::kDynamicTopic, broker));
  }
  return entries;
}

std::vector<ConfigEntry> ConfigDescriber::group(const ClusterImage& image, const ConfigMap& configs) const {
  std::vector<ConfigEntry> entries;
  const BrokerValue broker = broker_values(config_, image, node_id_);
  for (const Setting& setting : group_settings())
    entries.push_back(with_broker_default(image, setting, configs, ConfigSource::kDynamicGroup, broker));
  return entries;
}

std::vector<ConfigEntry> ConfigDescriber::broker(const ClusterImage& image) const {
  std::vector<ConfigEntry> entries;
  for (const Setting& setting : broker_settings()) {
    ConfigEntry entry = entry_of(setting);
    entry.read_only = setting.scope == Scope::kReadOnly;
    entry.synonyms = broker_synonyms(image, setting);
    take_first(entry);
    entries.push_back(std::move(entry));
  }
  const auto add_unknown = [&](const ConfigMap& configs, ConfigSource source) {
    for (const auto& [name, value] : configs) {
      const bool known = std::ranges::any_of(entries, [&](const ConfigEntry& e) { return e.name == name; });
      if (!known) entries.push_back(unknown_entry(name, source));
    }
  };
  add_unknown(image.broker_configs(node_id_), ConfigSource::kDynamicBroker);
  add_unknown(image.cluster_configs(), ConfigSource::kDynamicDefaultBroker);
  return entries;
}

std::vector<ConfigEntry> ConfigDescriber::cluster(const ClusterImage& image) const {
  std::vector<ConfigEntry> entries;
  for (const auto& [name, value] : image.cluster_configs()) {
    const Setting* setting = find_setting(broker_settings(), name);
    if (setting == nullptr) {
      entries.push_back(unknown_entry(name, ConfigSource::kDynamicDefaultBroker));
      continue;
    }
    ConfigEntry entry = entry_of(*setting);
    entry.read_only = setting->scope == Scope::kReadOnly;
    entry.synonyms = {{name, shown(*setting, value), ConfigSource::kDynamicDefaultBroker}};
    take_first(entry);
    entries.push_back(std::move(entry));
  }
  return entries;
}

Result<std::vector<ConfigEntry>> ConfigDescriber::describe(
    const ClusterImage& image, ResourceType type, std::string_view name,
    const std::optional<std::vector<std::string>>& keys) const {
  std::vector<ConfigEntry> entries;
  if (type == ResourceType::kTopic) {
    if (const auto why = check_topic_name(name)) {
      return fail(ErrorCode::kInvalidTopicException, "Topic name is invalid: " + *why);
    }
    const TopicPtr found = image.topic(name);
    if (!found) return fail(ErrorCode::kUnknownTopicOrPartition);
    entries = topic(image, found->configs);
  } else if (type == ResourceType::kBroker && name.empty()) {
    entries = cluster(image);
  } else if (type == ResourceType::kBroker) {
    int32_t id = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
    if (error != std::errc() || end != name.data() + name.size()) {
      return fail(ErrorCode::kInvalidRequest,
                  fmt::format("Broker id must be an integer, but it is: {}", name));
    }
    if (id != node_id_) {
      return fail(
          ErrorCode::kInvalidRequest,
          fmt::format("Unexpected broker id, expected {} or empty string, but received {}", node_id_, name));
    }
    entries = broker(image);
  } else if (type == ResourceType::kGroup) {
    if (name.empty()) return fail(ErrorCode::kInvalidRequest, "Group name must not be empty");
    entries = group(image, image.group_configs(name));
  } else {
    return fail(ErrorCode::kInvalidRequest,
                fmt::format("Unsupported resource type: {}", static_cast<int>(type)));
  }
  keep(entries, keys);
  return entries;
}

}  // namespace millrace::metadata
