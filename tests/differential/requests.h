// What the scenarios share: topics to work on, batches to send, and requests in few words.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "protocol/batch_builder.h"
#include "tests/differential/comparison.h"

namespace millrace::differential {

// The time of the first record: both brokers must see the same. Recent, so that retention leaves it alone,
// and long enough ago to tell it from the brokers' clocks.
extern const int64_t kTime_ms;

using ConfigList = std::vector<std::pair<std::string, std::optional<std::string>>>;

struct NewTopic {
  std::string name;
  int32_t partitions = 1;
  int16_t replicas = 1;
  std::vector<std::pair<int32_t, std::vector<int32_t>>> assignments;
  ConfigList configs;
};

protocol::CreateTopicsRequest create_topics_request(Call& call, const std::vector<NewTopic>& topics,
                                                    bool validate_only);
// Creates topics on both, uncompared, and returns when both lead every partition. Throws if one can't.
void set_up(Comparison& comparison, const std::vector<NewTopic>& topics);
// Waits until the new configuration is seen by those who append: Apache Kafka applies it a moment after the
// answer.
void let_settle();

// A batch of records "k0"="v0" and so on, the first at kTime_ms + `time`, each a millisecond later.
struct BatchSketch {
  int records = 1;
  int64_t time = 0;
  int64_t time_step = 1;
  size_t value_size = 0;  // pads the values
  bool null_keys = false;
  bool null_values = false;
  bool with_headers = false;
  protocol::BatchOptions options;
};
Buffer batch(const BatchSketch& sketch);
Buffer concat(const std::vector<Buffer>& parts);

// One partition of one topic, by name or by id as the version has it.
protocol::ProduceRequest produce_request(Call& call, const std::string& topic, int32_t partition,
                                         const std::optional<Buffer>& records, int16_t acks = -1);
// Sends a batch to both without comparing; both must take it.
void append(Comparison& comparison, const std::string& topic, int32_t partition, const Buffer& records);

struct FetchSketch {
  std::string topic;
  int32_t partition = 0;
  int64_t offset = 0;
  int32_t max_bytes = 1 << 20;
  int32_t leader_epoch = -1;
  int32_t last_fetched_epoch = -1;
};
struct FetchLimits {
  int32_t max_wait_ms = 0;
  int32_t min_bytes = 0;
  int32_t max_bytes = 50 << 20;
  int8_t isolation_level = 0;
  int32_t session_id = 0;
  int32_t session_epoch = -1;
};
protocol::FetchRequest fetch_request(Call& call, const std::vector<FetchSketch>& partitions,
                                     const FetchLimits& limits = {},
                                     const std::vector<std::pair<std::string, int32_t>>& forgotten = {});

protocol::ListOffsetsRequest list_offsets_request(Call& call, const std::string& topic, int32_t partition,
                                                  int64_t timestamp, int8_t isolation_level = 0,
                                                  int32_t leader_epoch = -1, int32_t replica_id = -1);

}  // namespace millrace::differential
