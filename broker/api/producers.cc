// InitProducerId (KIP-98, KIP-360): ids for idempotent producers. DescribeProducers (KIP-664).
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/api/by_partition.h"
#include "broker/api/by_shard.h"
#include "broker/api/handlers.h"
#include "broker/replication/partition.h"
#include "protocol/messages/describe_producers.h"
#include "protocol/messages/init_producer_id.h"

namespace millrace::api {
namespace {

using protocol::DescribeProducersRequest;
using protocol::DescribeProducersResponse;
using protocol::InitProducerIdRequest;
using protocol::InitProducerIdResponse;

Task<Result<int64_t>> next_producer_id(Context& context) {
  ShardServices& here = context.here();
  while (here.producer_ids_left == 0) {
    metadata::Controller& controller = context.services.controller;
    auto allocate = [&controller] { return controller.allocate_producer_ids(); };
    const auto block = co_await context.services.home().call(allocate);
    if (!block) co_return std::unexpected(block.error());
    // Another request of this shard may have fetched a block meanwhile: ours then goes unused, ids are not
    // scarce.
    if (here.producer_ids_left > 0) break;
    here.next_producer_id = block->first;
    here.producer_ids_left = block->size;
  }
  --here.producer_ids_left;
  co_return here.next_producer_id++;
}

}  // namespace

Task<> init_producer_id(Context& context, const InitProducerIdRequest& request,
                        InitProducerIdResponse& response) {
  if (request.transactional_id) {
    // Transactions aren't served, and nothing that a client needs for them is advertised; no client comes
    // this far.
    response.error_code =
        request.transactional_id->empty() ? ErrorCode::kInvalidRequest : ErrorCode::kUnsupportedVersion;
    response.producer_epoch = -1;
    co_return;
  }
  // Both or none (KIP-360).
  if ((request.producer_id == -1) != (request.producer_epoch == -1)) {
    response.error_code = ErrorCode::kInvalidRequest;
    response.producer_epoch = -1;
    co_return;
  }
  const auto id = co_await next_producer_id(context);
  if (!id) {
    response.error_code = id.error().code;
    response.producer_epoch = -1;
    co_return;
  }
  response.producer_id = *id;
  response.producer_epoch = 0;
}

Task<> describe_producers(Context& context, const DescribeProducersRequest& request,
                          DescribeProducersResponse& response) {
  struct Question {
    TopicIdPartition id;
    std::vector<storage::ProducerEntry> producers;
    ErrorCode error;
    DescribeProducersResponse::Topic::Partition* answer;
  };
  std::vector<Question> questions;
  // A partition that is asked for again is refused: its producers would be copied once for every time.
  std::set<std::pair<std::string_view, int32_t>> seen;
  const auto collect = [&](const NamedPartition& named, int32_t,
                           DescribeProducersResponse::Topic::Partition& answer) {
    answer.error_code = named.error;
    if (const auto problem = metadata::check_topic_name(named.topic)) {
      answer.error_code = ErrorCode::kInvalidTopicException;
      answer.error_message = context.message("Topic name is invalid: " + *problem);
    } else if (named.id.topic_id.is_zero()) {
      answer.error_message = "This server does not host this topic-partition.";
    } else if (named.error == ErrorCode::kNone && !seen.emplace(named.topic, named.id.partition).second) {
      answer.error_code = ErrorCode::kInvalidRequest;
      answer.error_message = "The request names this partition more than once.";
    }
    if (answer.error_code == ErrorCode::kNone) questions.push_back({named.id, {}, ErrorCode::kNone, &answer});
  };
  answer_each_partition(context, request, response, collect);
  auto ask = [](replication::PartitionTable& partitions, Question& question) {
    if (const auto partition = partitions.find(question.id)) {
      question.producers = partition->log().producers().list();
    } else {
      question.error = partitions.absence(question.id);
    }
  };
  co_await on_owning_shards(context.services, questions, ask);
  for (const Question& question : questions) {
    question.answer->error_code = question.error;
    auto& active = question.answer->active_producers;
    active = context.arena.make_array<DescribeProducersResponse::Topic::Partition::ActiveProducer>(
        question.producers.size());
    for (size_t i = 0; i < question.producers.size(); ++i) {
      const storage::ProducerEntry& producer = question.producers[i];
      active[i].producer_id = producer.producer_id;
      active[i].producer_epoch = producer.epoch;
      active[i].last_sequence = producer.last_sequence();
      active[i].last_timestamp = producer.last_timestamp_ms;
      active[i].coordinator_epoch = -1;
    }
  }
}

}  // namespace millrace::api
