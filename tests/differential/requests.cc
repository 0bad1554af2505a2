#include "tests/differential/requests.h"

#include <chrono>
#include <stdexcept>
#include <thread>

namespace millrace::differential {

const int64_t kTime_ms =
    std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
        .count() -
    3'600'000;

using protocol::CreateTopicsRequest;
using protocol::FetchRequest;
using protocol::ListOffsetsRequest;
using protocol::ListOffsetsResponse;
using protocol::ProduceRequest;

namespace {

constexpr int16_t kCreateTopicsVersion = 7;
constexpr int16_t kListOffsetsVersion = 7;
constexpr int16_t kProduceVersion = 9;

bool leads(Comparison& comparison, const std::string& topic, int32_t partition) {
  bool all = true;
  comparison.ask_each(
      kListOffsetsVersion, [&](Call& call) { return list_offsets_request(call, topic, partition, -1); },
      [&](Peer&, const ListOffsetsResponse& response) {
        all = all && response.topics[0].partitions[0].error_code == ErrorCode::kNone;
      });
  return all;
}

}  // namespace

CreateTopicsRequest create_topics_request(Call& call, const std::vector<NewTopic>& topics,
                                          bool validate_only) {
  std::vector<CreateTopicsRequest::Topic> wanted;
  for (const NewTopic& topic : topics) {
    CreateTopicsRequest::Topic& out = wanted.emplace_back();
    out.name = call.arena.copy(topic.name);
    out.num_partitions = topic.partitions;
    out.replication_factor = topic.replicas;
    std::vector<CreateTopicsRequest::Topic::Assignment> assignments;
    for (const auto& [partition, brokers] : topic.assignments)
      assignments.push_back({.partition_index = partition, .broker_ids = call.arena.copy(brokers)});
    out.assignments = call.arena.copy(assignments);
    std::vector<CreateTopicsRequest::Topic::Config> configs;
    for (const auto& [name, value] : topic.configs) {
      auto& config = configs.emplace_back();
      config.name = call.arena.copy(name);
      config.value = value ? std::optional(call.arena.copy(std::string_view(*value))) : std::nullopt;
    }
    out.configs = call.arena.copy(configs);
  }
  CreateTopicsRequest request;
  request.topics = call.arena.copy(wanted);
  request.validate_only = validate_only;
  return request;
}

void set_up(Comparison& comparison, const std::vector<NewTopic>& topics) {
  comparison.ask_each(
      kCreateTopicsVersion, [&](Call& call) { return create_topics_request(call, topics, false); },
      [](Peer& peer, const protocol::CreateTopicsResponse& response) {
        for (const auto& topic : response.topics) {
          if (topic.error_code != ErrorCode::kNone) {
            throw std::runtime_error(peer.name() + " can't create " + std::string(topic.name) + ": " +
                                     std::string(topic.error_message.value_or("")));
          }
          peer.learn_topic(std::string(topic.name), topic.topic_id);
        }
      });
  for (const NewTopic& topic : topics) {
    for (int32_t partition = 0; partition < topic.partitions; ++partition)
      comparison.wait_until([&](Peer&) { return leads(comparison, topic.name, partition); });
  }
}

void let_settle() { std::this_thread::sleep_for(std::chrono::milliseconds(400)); }

Buffer batch(const BatchSketch& sketch) {
  protocol::BatchBuilder builder(sketch.options);
  const std::vector<protocol::RecordHeader> headers = {{.key = "h", .value = as_bytes("1")}, {.key = "none"}};
  for (int i = 0; i < sketch.records; ++i) {
    const std::string key = "k" + std::to_string(i);
    std::string value = "v" + std::to_string(i);
    value.resize(std::max(value.size(), sketch.value_size), 'x');
    builder.append(sketch.null_keys ? std::nullopt : std::optional(as_bytes(key)),
                   sketch.null_values ? std::nullopt : std::optional(as_bytes(value)),
                   sketch.with_headers ? std::span(headers) : std::span<const protocol::RecordHeader>(),
                   kTime_ms + sketch.time + i * sketch.time_step);
  }
  return builder.build().value();
}

Buffer concat(const std::vector<Buffer>& parts) {
  Buffer all;
  for (const Buffer& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

ProduceRequest produce_request(Call& call, const std::string& topic, int32_t partition,
                               const std::optional<Buffer>& records, int16_t acks) {
  ProduceRequest::Topic::Partition part;
  part.index = partition;
  if (records) part.records = protocol::Records::of(call.arena.copy(Bytes(*records)));
  ProduceRequest::Topic data;
  if (call.version >= 13) {
    data.topic_id = call.peer.topic_id(topic);
  } else {
    data.name = call.arena.copy(topic);
  }
  data.partition_data = call.arena.copy(std::vector{part});
  ProduceRequest request;
  request.acks = acks;
  request.timeout_ms = 10'000;
  request.topic_data = call.arena.copy(std::vector{data});
  return request;
}

void append(Comparison& comparison, const std::string& topic, int32_t partition, const Buffer& records) {
  comparison.ask_each(
      kProduceVersion, [&](Call& call) { return produce_request(call, topic, partition, records); },
      [&](Peer& peer, const protocol::ProduceResponse& response) {
        const auto& answer = response.responses[0].partition_responses[0];
        if (answer.error_code != ErrorCode::kNone) {
          throw std::runtime_error(peer.name() + " doesn't take records for " + topic + ": " +
                                   std::string(error_name(answer.error_code)));
        }
      });
}

FetchRequest fetch_request(Call& call, const std::vector<FetchSketch>& partitions, const FetchLimits& limits,
                           const std::vector<std::pair<std::string, int32_t>>& forgotten) {
  const bool by_id = call.version >= 13;
  FetchRequest request;
  request.max_wait_ms = limits.max_wait_ms;
  request.min_bytes = limits.min_bytes;
  request.max_bytes = limits.max_bytes;
  request.isolation_level = limits.isolation_level;
  request.session_id = limits.session_id;
  request.session_epoch = limits.session_epoch;
  std::vector<FetchRequest::Topic> topics;
  for (const FetchSketch& sketch : partitions) {
    FetchRequest::Topic::Partition part;
    part.partition = sketch.partition;
    part.fetch_offset = sketch.offset;
    part.partition_max_bytes = sketch.max_bytes;
    part.current_leader_epoch = sketch.leader_epoch;
    if (call.version >= 12) part.last_fetched_epoch = sketch.last_fetched_epoch;
    FetchRequest::Topic& topic = topics.emplace_back();
    topic.topic = call.arena.copy(sketch.topic);
    if (by_id) topic.topic_id = call.peer.topic_id(sketch.topic);
    topic.partitions = call.arena.copy(std::vector{part});
  }
  request.topics = call.arena.copy(topics);
  std::vector<FetchRequest::ForgottenTopic> forget;
  for (const auto& [name, partition] : forgotten) {
    auto& topic = forget.emplace_back();
    topic.topic = call.arena.copy(name);
    if (by_id) topic.topic_id = call.peer.topic_id(name);
    topic.partitions = call.arena.copy(std::vector{partition});
  }
  request.forgotten_topics_data = call.arena.copy(forget);
  return request;
}

ListOffsetsRequest list_offsets_request(Call& call, const std::string& topic, int32_t partition,
                                        int64_t timestamp, int8_t isolation_level, int32_t leader_epoch,
                                        int32_t replica_id) {
  ListOffsetsRequest::Topic::Partition part;
  part.partition_index = partition;
  part.timestamp = timestamp;
  part.current_leader_epoch = leader_epoch;
  ListOffsetsRequest::Topic asked;
  asked.name = call.arena.copy(topic);
  asked.partitions = call.arena.copy(std::vector{part});
  ListOffsetsRequest request;
  request.replica_id = replica_id;
  if (call.version >= 2) request.isolation_level = isolation_level;
  request.topics = call.arena.copy(std::vector{asked});
  return request;
}

}  // namespace millrace::differential
