// Decides what concerns the whole cluster: topics, their partitions, configurations, ids. Whoever holds the
// `controller` lease does it; every transaction compares that lease's revision, so that a deposed controller
// can't write. Validation, error codes and messages are Kafka's. Plain values in and out: handlers in
// broker/api translate.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/metadata/broker_settings.h"
#include "broker/metadata/cluster_image.h"
#include "broker/metadata/config_describer.h"
#include "broker/metadata/metadata_cache.h"
#include "broker/metadata/metadata_store.h"
#include "broker/runtime/random.h"
#include "broker/runtime/task.h"

namespace millrace::metadata {

// The most partitions that one request may add, as in Kafka.
constexpr int64_t kMaxPartitionsPerRequest = 10'000;
constexpr int64_t kProducerIdBlockSize = 1000;

struct NewTopicAssignment {
  int32_t partition = 0;
  std::vector<int32_t> brokers;
};
struct NewTopic {
  std::string name;
  int32_t num_partitions = -1;                  // -1: num.partitions
  int16_t replication_factor = -1;              // -1: default.replication.factor
  std::vector<NewTopicAssignment> assignments;  // empty: the controller chooses
  std::vector<std::pair<std::string, std::optional<std::string>>> configs;
};
struct CreateTopicResult {
  std::string name;
  Error error{ErrorCode::kNone, {}};  // an empty message is null on the wire
  // The rest only without an error. The id is zero with validate_only.
  Uuid id;
  int32_t num_partitions = -1;
  int16_t replication_factor = -1;
  std::vector<ConfigEntry> configs;
};

struct DeleteTopic {
  std::optional<std::string> name;  // exactly one of them
  Uuid id;
};
struct DeleteTopicResult {
  std::optional<std::string> name;  // also where only the id was given, if it is known
  Uuid id;
  Error error{ErrorCode::kNone, {}};
};

struct NewPartitions {
  std::string topic;
  int32_t count = 0;                                             // in all
  std::optional<std::vector<std::vector<int32_t>>> assignments;  // of the new partitions
};
struct TopicResult {
  std::string topic;
  Error error{ErrorCode::kNone, {}};
};

// Numbers as on the wire.
enum class AlterOp : int8_t { kSet = 0, kDelete = 1, kAppend = 2, kSubtract = 3 };
struct ConfigChange {
  std::string name;
  AlterOp op = AlterOp::kSet;
  std::optional<std::string> value;
};
struct AlterResource {
  ResourceType type = ResourceType::kUnknown;
  std::string name;
  std::vector<ConfigChange> changes;
};
struct AlterResult {
  ResourceType type = ResourceType::kUnknown;
  std::string name;
  Error error{ErrorCode::kNone, {}};
};

struct ProducerIdBlock {
  int64_t first = 0;
  int64_t size = 0;
};

struct BrokerRegistration {
  std::vector<Endpoint> endpoints;
  std::optional<std::string> rack;
};

// Lives on the home shard; its functions may be awaited from there only. They run one after another. Each
// returns when every shard has applied what it did: a topic it reports as created accepts produce on every
// shard. Results are in the order of the request. Where the store fails or another controller has taken over,
// every result that would have changed something has that error.
class Controller {
 public:
  // All outlive it.
  Controller(MetadataStore& store, MetadataCache& cache, const StaticConfig& config, int32_t node_id,
             runtime::Random& random);
  ~Controller();

  // After the cache's start(): makes the cluster's id if there is none, registers this broker, takes the
  // lease of the controller, and waits until every shard knows. Fails with kKafkaStorageError, or
  // kNotController if another broker holds it.
  runtime::Task<Result<>> start(BrokerRegistration registration);
  // Gives the leases back, so that a successor needn't wait for them to run out.
  runtime::Task<> stop();

  runtime::Task<std::vector<CreateTopicResult>> create_topics(std::vector<NewTopic> topics,
                                                              bool validate_only);
  runtime::Task<std::vector<DeleteTopicResult>> delete_topics(std::vector<DeleteTopic> topics);
  runtime::Task<std::vector<TopicResult>> create_partitions(std::vector<NewPartitions> topics,
                                                            bool validate_only);

  // IncrementalAlterConfigs.
  runtime::Task<std::vector<AlterResult>> alter_configs(std::vector<AlterResource> resources,
                                                        bool validate_only);
  // AlterConfigs: what isn't named goes back to its default. Only kSet changes.
  runtime::Task<std::vector<AlterResult>> replace_configs(std::vector<AlterResource> resources,
                                                          bool validate_only);

  // Ids that no other broker gets, ever.
  runtime::Task<Result<ProducerIdBlock>> allocate_producer_ids();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace::metadata
