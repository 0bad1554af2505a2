// Produce: 3 is the first version with record batches v2; 8 adds errors by record, 13 names topics by id.
#include "protocol/messages/produce.h"

#include <algorithm>
#include <expected>
#include <utility>
#include <vector>

#include "broker/api/handlers.h"
#include "broker/replication/partition.h"
#include "broker/runtime/fan_out.h"
#include "protocol/record_batch.h"

namespace millrace::api {
namespace {

using protocol::ProduceRequest;
using protocol::ProduceResponse;
using replication::Acks;

// One partition of the request on its way: filled here, appended on its shard, answered here again.
struct Part {
  TopicIdPartition id;
  MutableBytes records;
  ProduceResponse::Topic::Partition* answer;
  std::shared_ptr<replication::Partition> partition;  // touched on its shard only
  std::expected<storage::AppendInfo, storage::AppendError> appended;
  Result<> acknowledged;
  int64_t log_start_offset = -1;  // when it was refused
};

// The parts of one shard.
struct ShardParts {
  runtime::Shard* shard;
  std::vector<Part> parts;
};

// The frame is the request's own, so batches get their offsets in place instead of in a copy.
MutableBytes writable(Bytes records) { return {const_cast<std::byte*>(records.data()), records.size()}; }

Error check_topic(const Context& context, const metadata::TopicPtr& topic) {
  if (!topic) {
    return {context.version >= 13 ? ErrorCode::kUnknownTopicId : ErrorCode::kUnknownTopicOrPartition, {}};
  }
  if (metadata::is_internal_topic(topic->name) && context.client_id != "__admin_client") {
    return {ErrorCode::kInvalidTopicException, "Cannot append to internal topic " + topic->name};
  }
  return {ErrorCode::kNone, {}};
}

void refuse(Context& context, ProduceResponse::Topic::Partition& answer, const Error& error) {
  answer.error_code = error.code;
  answer.base_offset = -1;
  answer.error_message = context.message(error.message);
}

// Answers what can't be appended and sorts the rest by shard.
class Sorter {
 public:
  explicit Sorter(Context& context) : context_(context) {}

  void add(const ProduceRequest::Topic& wanted, ProduceResponse::Topic& answer) {
    const auto topic = context_.version >= 13 ? context_.image()->topic(wanted.topic_id)
                                              : context_.image()->topic(wanted.name);
    const Error error = check_topic(context_, topic);
    answer.name = wanted.name;
    answer.topic_id = wanted.topic_id;
    answer.partition_responses =
        context_.arena.make_array<ProduceResponse::Topic::Partition>(wanted.partition_data.size());
    for (size_t i = 0; i < wanted.partition_data.size(); ++i) {
      add(topic, error, wanted.partition_data[i], answer.partition_responses[i]);
    }
  }

  std::vector<ShardParts> take() { return std::move(by_shard_); }

 private:
  void add(const metadata::TopicPtr& topic, const Error& topic_error,
           const ProduceRequest::Topic::Partition& wanted, ProduceResponse::Topic::Partition& answer) {
    answer.index = wanted.index;
    if (topic_error.code != ErrorCode::kNone) return refuse(context_, answer, topic_error);
    if (wanted.index < 0 || static_cast<size_t>(wanted.index) >= topic->partitions.size()) {
      return refuse(context_, answer, {ErrorCode::kUnknownTopicOrPartition, {}});
    }
    if (auto valid = storage::validate_produce_records(wanted.records.bytes, context_.version); !valid) {
      return refuse(context_, answer, valid.error());
    }
    const TopicIdPartition id{topic->id, wanted.index};
    parts_of(context_.services.shards.shard_of(id))
        .push_back({.id = id, .records = writable(*wanted.records.bytes), .answer = &answer});
  }

  std::vector<Part>& parts_of(runtime::Shard& shard) {
    for (ShardParts& parts : by_shard_) {
      if (parts.shard == &shard) return parts.parts;
    }
    return by_shard_.emplace_back(ShardParts{&shard, {}}).parts;
  }

  Context& context_;
  std::vector<ShardParts> by_shard_;
};

void append(Services& services, ShardParts& parts) {
  ShardServices& here = services.of(*parts.shard);
  const int64_t now_ms = parts.shard->clock().now_ms();
  for (Part& part : parts.parts) {
    part.partition = here.partitions.find(part.id);
    if (!part.partition) {
      part.appended = std::unexpected(storage::AppendError(Error{here.partitions.absence(part.id), {}}));
      continue;
    }
    part.appended = part.partition->append(part.records, now_ms);
    if (part.appended) {
      services.write_trouble.succeeded(parts.shard->clock());
    } else if (part.appended.error().code == ErrorCode::kKafkaStorageError) {
      services.write_trouble.failed(parts.shard->clock(), part.partition->log().name(),
                                    part.appended.error());
    }
    if (!part.appended && !part.partition->removed())
      part.log_start_offset = part.partition->log().log_start_offset();
  }
}

// On the shard of the parts, which leaves them without their partition.
runtime::Task<> wait_acknowledged(ShardParts& parts, Acks acks, int32_t timeout_ms) {
  const int64_t deadline_ns = parts.shard->clock().deadline_in_ms(std::max(timeout_ms, 0));
  for (Part& part : parts.parts) {
    const auto partition = std::move(part.partition);
    // The first of a request's parts waits for the sync; it seldom leaves anything to wait for to the others.
    if (!part.appended || acks == Acks::kNone) continue;
    if (partition->high_watermark() > part.appended->last_offset) continue;
    part.acknowledged =
        co_await partition->wait_acknowledged(part.appended->last_offset + 1, acks, deadline_ns);
  }
}

// Every shard has appended, or is about to, before the first of them is waited for.
runtime::Task<> append_on_shards(Services& services, std::vector<ShardParts>& by_shard, Acks acks,
                                 int32_t timeout_ms) {
  std::vector<runtime::Shard*> shards;
  for (const ShardParts& parts : by_shard) shards.push_back(parts.shard);
  auto append_parts = [&services, &by_shard](size_t i) { append(services, by_shard[i]); };
  co_await runtime::fan_out(shards, append_parts);
  for (ShardParts& parts : by_shard) {
    auto wait = [&parts, acks, timeout_ms] { return wait_acknowledged(parts, acks, timeout_ms); };
    co_await parts.shard->call(wait);
  }
}

// Kafka tells the log's start with what it refuses after a look at the log, sequences and times; not with
// what is wrong already by itself.
bool tells_log_start(ErrorCode error) {
  switch (error) {
    case ErrorCode::kUnknownTopicOrPartition:
    case ErrorCode::kNotLeaderOrFollower:
    case ErrorCode::kMessageTooLarge:
    case ErrorCode::kRecordListTooLarge:
    case ErrorCode::kCorruptMessage:
    case ErrorCode::kKafkaStorageError:
      return false;
    default:
      return true;
  }
}

void answer(Context& context, const Part& part) {
  ProduceResponse::Topic::Partition& answer = *part.answer;
  if (!part.appended) {
    const storage::AppendError& error = part.appended.error();
    refuse(context, answer, error);
    if (tells_log_start(error.code)) answer.log_start_offset = part.log_start_offset;
    answer.record_errors =
        context.arena.make_array<ProduceResponse::Topic::Partition::RecordError>(error.record_errors.size());
    for (size_t i = 0; i < error.record_errors.size(); ++i) {
      answer.record_errors[i].batch_index = error.record_errors[i].batch_index;
      answer.record_errors[i].batch_index_error_message = context.message(error.record_errors[i].message);
    }
    return;
  }
  if (!part.acknowledged) return refuse(context, answer, part.acknowledged.error());
  answer.base_offset = part.appended->base_offset;
  answer.log_append_time_ms = part.appended->log_append_time_ms;
  answer.log_start_offset = part.appended->log_start_offset;
}

bool is_valid(int16_t acks) { return acks >= -1 && acks <= 1; }

bool has_transactional_batch(const ProduceRequest& request) {
  for (const auto& topic : request.topic_data) {
    for (const auto& partition : topic.partition_data) {
      if (!partition.records.bytes) continue;
      const auto header = protocol::peek_batch_header(*partition.records.bytes);
      if (header && header->is_transactional()) return true;
    }
  }
  return false;
}

// What is wrong with the request as a whole.
ErrorCode check(const ProduceRequest& request) {
  if (!is_valid(request.acks)) return ErrorCode::kInvalidRequiredAcks;
  if (!has_transactional_batch(request)) return ErrorCode::kNone;
  // Transactions aren't served yet: records of one that nobody can end must not get into a log.
  return request.transactional_id ? ErrorCode::kInvalidTxnState
                                  : ErrorCode::kTransactionalIdAuthorizationFailed;
}

void refuse_all(Context& context, const ProduceRequest& request, ProduceResponse& response,
                const Error& error) {
  for (size_t t = 0; t < request.topic_data.size(); ++t) {
    const auto& wanted = request.topic_data[t];
    auto& topic = response.responses[t];
    topic.name = wanted.name;
    topic.topic_id = wanted.topic_id;
    topic.partition_responses =
        context.arena.make_array<ProduceResponse::Topic::Partition>(wanted.partition_data.size());
    for (size_t i = 0; i < wanted.partition_data.size(); ++i) {
      topic.partition_responses[i].index = wanted.partition_data[i].index;
      refuse(context, topic.partition_responses[i], error);
    }
  }
}

// With acks=0 there is no response to carry an error, so closing the connection has to say it, as in Kafka.
void answer_by_silence(Context& context, const ProduceResponse& response) {
  context.respond = false;
  for (const auto& topic : response.responses) {
    for (const auto& partition : topic.partition_responses) {
      if (partition.error_code == ErrorCode::kNone) continue;
      context.close_reason =
          std::string("Produce with acks=0 failed: ") + std::string(error_name(partition.error_code));
      return;
    }
  }
}

}  // namespace

runtime::Task<> produce(Context& context, const ProduceRequest& request, ProduceResponse& response) {
  response.responses = context.arena.make_array<ProduceResponse::Topic>(request.topic_data.size());
  if (const ErrorCode error = check(request); error != ErrorCode::kNone) {
    refuse_all(context, request, response, {error, {}});
    if (request.acks == 0) answer_by_silence(context, response);
    co_return;
  }
  Sorter sorter(context);
  for (size_t i = 0; i < request.topic_data.size(); ++i)
    sorter.add(request.topic_data[i], response.responses[i]);
  std::vector<ShardParts> by_shard = sorter.take();

  const auto acks = static_cast<Acks>(request.acks);
  if (by_shard.size() == 1 && by_shard.front().shard->is_current()) {
    // The usual case, with fewer coroutines.
    append(context.services, by_shard.front());
    co_await wait_acknowledged(by_shard.front(), acks, request.timeout_ms);
  } else {
    co_await append_on_shards(context.services, by_shard, acks, request.timeout_ms);
  }
  for (const ShardParts& parts : by_shard) {
    for (const Part& part : parts.parts) answer(context, part);
  }
  if (acks == Acks::kNone) answer_by_silence(context, response);
}

}  // namespace millrace::api
