#include "broker/metadata/metadata_codec.h"

#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <charconv>

namespace millrace::metadata {
namespace {

namespace json = boost::json;

constexpr int64_t kVersion = 1;
constexpr std::string_view kDefaultBroker = "default";

std::unexpected<Error> corrupt(std::string why) { return fail(ErrorCode::kCorruptMessage, std::move(why)); }

// An object whose version we know; a later version's additions within it are ignored.
Result<json::object> parse_object(std::string_view text) {
  json::error_code error;
  json::value value = json::parse(json::string_view(text.data(), text.size()), error);
  if (error) return corrupt("not JSON: " + error.message());
  if (!value.is_object()) return corrupt("not a JSON object");
  json::object& object = value.get_object();
  const json::value* version = object.if_contains("v");
  if (version == nullptr || !version->is_int64()) return corrupt("no version");
  if (version->get_int64() != kVersion) return corrupt(fmt::format("version {}", version->get_int64()));
  return std::move(object);
}

std::string text_of(json::object object) {
  object["v"] = kVersion;
  return json::serialize(object);
}

std::optional<int64_t> integer(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(json::string_view(name.data(), name.size()));
  if (value == nullptr || !value->is_int64()) return std::nullopt;
  return value->get_int64();
}

std::optional<int32_t> small_integer(const json::object& object, std::string_view name) {
  const std::optional<int64_t> number = integer(object, name);
  if (!number || *number != static_cast<int32_t>(*number)) return std::nullopt;
  return static_cast<int32_t>(*number);
}

std::optional<std::string> text(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(json::string_view(name.data(), name.size()));
  if (value == nullptr || !value->is_string()) return std::nullopt;
  return std::string(value->get_string().data(), value->get_string().size());
}

std::optional<std::vector<int32_t>> broker_ids(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(json::string_view(name.data(), name.size()));
  if (value == nullptr || !value->is_array()) return std::nullopt;
  std::vector<int32_t> ids;
  for (const json::value& id : value->get_array()) {
    if (!id.is_int64() || id.get_int64() != static_cast<int32_t>(id.get_int64())) return std::nullopt;
    ids.push_back(static_cast<int32_t>(id.get_int64()));
  }
  return ids;
}

json::string_view view(std::string_view text) { return {text.data(), text.size()}; }

json::array array_of(const std::vector<int32_t>& ids) {
  json::array out;
  for (int32_t id : ids) out.emplace_back(id);
  return out;
}

std::optional<Endpoint> decode_endpoint(const json::value& value) {
  if (!value.is_object()) return std::nullopt;
  const json::object& object = value.get_object();
  const auto listener = text(object, "listener");
  const auto host = text(object, "host");
  const auto port = small_integer(object, "port");
  const auto protocol = text(object, "protocol");
  if (!listener || !host || !port || !protocol) return std::nullopt;
  return Endpoint{*listener, *host, *port, *protocol};
}

}  // namespace

std::string broker_key(int32_t id) { return fmt::format("{}{}", kBrokersPrefix, id); }
std::string topic_key(std::string_view name) { return fmt::format("{}{}", kTopicsPrefix, name); }
std::string partition_key(const TopicIdPartition& partition) {
  return fmt::format("{}{}", partitions_prefix(partition.topic_id), partition.partition);
}
std::string partitions_prefix(const Uuid& id) {
  return fmt::format("{}{}/", kPartitionsPrefix, id.to_string());
}
std::string deleted_topic_key(const Uuid& id) {
  return fmt::format("{}{}", kDeletedTopicsPrefix, id.to_string());
}
std::string topic_config_key(std::string_view topic) {
  return fmt::format("{}{}", kTopicConfigsPrefix, topic);
}
std::string group_config_key(std::string_view group) {
  return fmt::format("{}{}", kGroupConfigsPrefix, group);
}
std::string broker_config_key(int32_t id) {
  if (id == kNoBroker) return fmt::format("{}{}", kBrokerConfigsPrefix, kDefaultBroker);
  return fmt::format("{}{}", kBrokerConfigsPrefix, id);
}

std::optional<int32_t> parse_number(std::string_view text) {
  int32_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0) return std::nullopt;
  return number;
}

std::optional<TopicIdPartition> parse_partition_key(std::string_view rest) {
  const size_t slash = rest.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const std::optional<Uuid> id = Uuid::parse(rest.substr(0, slash));
  const std::optional<int32_t> number = parse_number(rest.substr(slash + 1));
  if (!id || !number) return std::nullopt;
  return TopicIdPartition{*id, *number};
}

std::optional<int32_t> parse_broker_config_id(std::string_view rest) {
  if (rest == kDefaultBroker) return kNoBroker;
  return parse_number(rest);
}

std::string encode_id(const Uuid& id) { return text_of({{"id", id.to_string()}}); }
std::string encode_deleted_topic(std::string_view name) { return text_of({{"name", view(name)}}); }
std::string encode_controller(int32_t broker_id) { return text_of({{"broker", broker_id}}); }
std::string encode_producer_ids(int64_t next) { return text_of({{"next", next}}); }

std::string encode_partition(const PartitionImage& partition) {
  return text_of({{"replicas", array_of(partition.replicas)},
                  {"isr", array_of(partition.isr)},
                  {"leader", partition.leader},
                  {"leader_epoch", partition.leader_epoch},
                  {"partition_epoch", partition.partition_epoch}});
}

std::string encode_configs(const ConfigMap& configs) {
  json::object values;
  for (const auto& [name, value] : configs) values[view(name)] = view(value);
  return text_of({{"values", std::move(values)}});
}

std::string encode_broker(const BrokerImage& broker) {
  json::array endpoints;
  for (const Endpoint& e : broker.endpoints) {
    json::object endpoint;
    endpoint["listener"] = view(e.listener);
    endpoint["host"] = view(e.host);
    endpoint["port"] = e.port;
    endpoint["protocol"] = view(e.security_protocol);
    endpoints.push_back(std::move(endpoint));
  }
  json::object object{{"incarnation", broker.incarnation.to_string()}, {"endpoints", std::move(endpoints)}};
  if (broker.rack) object["rack"] = view(*broker.rack);
  return text_of(std::move(object));
}

Result<Uuid> decode_id(std::string_view value) {
  const Result<json::object> object = parse_object(value);
  if (!object) return std::unexpected(object.error());
  const auto id = text(*object, "id");
  const auto uuid = id ? Uuid::parse(*id) : std::nullopt;
  if (!uuid || uuid->is_zero()) return corrupt("no id");
  return *uuid;
}

Result<int32_t> decode_controller(std::string_view value) {
  const Result<json::object> object = parse_object(value);
  if (!object) return std::unexpected(object.error());
  const auto id = small_integer(*object, "broker");
  if (!id) return corrupt("no broker");
  return *id;
}

Result<int64_t> decode_producer_ids(std::string_view value) {
  const Result<json::object> object = parse_object(value);
  if (!object) return std::unexpected(object.error());
  const auto next = integer(*object, "next");
  if (!next || *next < 0) return corrupt("no next");
  return *next;
}

Result<PartitionImage> decode_partition(std::string_view value) {
  const Result<json::object> object = parse_object(value);
  if (!object) return std::unexpected(object.error());
  const auto replicas = broker_ids(*object, "replicas");
  const auto isr = broker_ids(*object, "isr");
  const auto leader = small_integer(*object, "leader");
  const auto leader_epoch = small_integer(*object, "leader_epoch");
  const auto partition_epoch = small_integer(*object, "partition_epoch");
  if (!replicas || !isr || !leader || !leader_epoch || !partition_epoch) return corrupt("a field is missing");
  return PartitionImage{*replicas, *isr, *leader, *leader_epoch, *partition_epoch};
}

Result<ConfigMap> decode_configs(std::string_view value) {
  const Result<json::object> object = parse_object(value);
  if (!object) return std::unexpected(object.error());
  const json::value* values = object->if_contains("values");
  if (values == nullptr || !values->is_object()) return corrupt("no values");
  ConfigMap configs;
  for (const auto& [name, text] : values->get_object()) {
    if (!text.is_string()) return corrupt("a value is no text");
    configs.emplace(std::string(name.data(), name.size()),
                    std::string(text.get_string().data(), text.get_string().size()));
  }
  return configs;
}

Result<BrokerImage> decode_broker(std::string_view value) {
  const Result<json::object> object = parse_object(value);
  if (!object) return std::unexpected(object.error());
  BrokerImage broker;
  const auto incarnation = text(*object, "incarnation");
  const auto uuid = incarnation ? Uuid::parse(*incarnation) : std::nullopt;
  const json::value* endpoints = object->if_contains("endpoints");
  if (!uuid || endpoints == nullptr || !endpoints->is_array()) return corrupt("a field is missing");
  broker.incarnation = *uuid;
  for (const json::value& value : endpoints->get_array()) {
    std::optional<Endpoint> endpoint = decode_endpoint(value);
    if (!endpoint) return corrupt("an endpoint's field is missing");
    broker.endpoints.push_back(std::move(*endpoint));
  }
  broker.rack = text(*object, "rack");
  return broker;
}

}  // namespace millrace::metadata
