// The keys of the metadata store and the text of their values: JSON objects with a version "v", so that a
// person can read a store and a later version can change a value's form.
//
// clang-format off
//   cluster                      {"v":1,"id":"<cluster id>"}
//   controller                   {"v":1,"broker":1}       leased; its create revision is the controller's epoch
//   brokers/<id>                 {"v":1,"incarnation":…,"endpoints":[…],"rack":…}                  leased
//   topics/<name>                {"v":1,"id":"<topic id>"}
//   partitions/<topic id>/<n>    {"v":1,"replicas":[…],"isr":[…],"leader":1,"leader_epoch":0,"partition_epoch":0}
//   deleted-topics/<topic id>    {"v":1,"name":"<name>"}  whose files may not all be gone yet
//   configs/topics/<name>        {"v":1,"values":{"retention.ms":"1000"}}
//   configs/groups/<id>          the same
//   configs/brokers/<id>         the same; the id `default` is that of all brokers
//   producer-ids                 {"v":1,"next":1000}
// clang-format on
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "broker/metadata/cluster_image.h"
#include "protocol/result.h"

namespace millrace::metadata {

constexpr std::string_view kClusterKey = "cluster";
constexpr std::string_view kControllerKey = "controller";
constexpr std::string_view kProducerIdsKey = "producer-ids";
constexpr std::string_view kBrokersPrefix = "brokers/";
constexpr std::string_view kTopicsPrefix = "topics/";
constexpr std::string_view kPartitionsPrefix = "partitions/";
constexpr std::string_view kDeletedTopicsPrefix = "deleted-topics/";
constexpr std::string_view kTopicConfigsPrefix = "configs/topics/";
constexpr std::string_view kGroupConfigsPrefix = "configs/groups/";
constexpr std::string_view kBrokerConfigsPrefix = "configs/brokers/";

std::string broker_key(int32_t id);
std::string topic_key(std::string_view name);
std::string partition_key(const TopicIdPartition& partition);
std::string partitions_prefix(const Uuid& topic_id);
std::string deleted_topic_key(const Uuid& topic_id);
std::string topic_config_key(std::string_view topic);
std::string group_config_key(std::string_view group);
// kNoBroker: the key of the default of all brokers.
std::string broker_config_key(int32_t id);

// What follows the prefix of a partition's or a broker configuration's key; nothing if it can't be read.
std::optional<TopicIdPartition> parse_partition_key(std::string_view rest);
std::optional<int32_t> parse_broker_config_id(std::string_view rest);
std::optional<int32_t> parse_number(std::string_view text);

std::string encode_id(const Uuid& id);  // of a cluster or topic
std::string encode_deleted_topic(std::string_view name);
std::string encode_controller(int32_t broker_id);
std::string encode_producer_ids(int64_t next);
std::string encode_partition(const PartitionImage& partition);
std::string encode_configs(const ConfigMap& configs);
std::string encode_broker(const BrokerImage& broker);  // without id and epoch, which the key has

// All fail with kCorruptMessage and say what is wrong.
Result<Uuid> decode_id(std::string_view value);
Result<int32_t> decode_controller(std::string_view value);
Result<int64_t> decode_producer_ids(std::string_view value);
Result<PartitionImage> decode_partition(std::string_view value);
Result<ConfigMap> decode_configs(std::string_view value);
Result<BrokerImage> decode_broker(std::string_view value);

}  // namespace millrace::metadata
