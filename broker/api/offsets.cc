// ListOffsets: 4 adds leader epochs, 7 the largest timestamp (KIP-734), 8 and 9 local and tiered offsets
// (KIP-405), 11 the earliest offset still to be tiered (KIP-1023). OffsetForLeaderEpoch (KIP-101, KIP-320).
// DeleteRecords (KIP-107).
#include <set>
#include <utility>
#include <vector>

#include "broker/api/by_partition.h"
#include "broker/api/by_shard.h"
#include "broker/api/handlers.h"
#include "broker/replication/look_up.h"
#include "broker/replication/partition.h"
#include "broker/replication/read_trouble.h"
#include "protocol/messages/delete_records.h"
#include "protocol/messages/list_offsets.h"
#include "protocol/messages/offset_for_leader_epoch.h"

namespace millrace::api {
namespace {

using protocol::DeleteRecordsRequest;
using protocol::DeleteRecordsResponse;
using protocol::ListOffsetsRequest;
using protocol::ListOffsetsResponse;
using protocol::OffsetForLeaderEpochRequest;
using protocol::OffsetForLeaderEpochResponse;
using replication::Partition;

// Timestamps that ask for a place instead of a time.
constexpr int64_t kLatest = -1;
constexpr int64_t kEarliest = -2;
constexpr int64_t kMaxTimestamp = -3;
constexpr int64_t kEarliestLocal = -4;
constexpr int64_t kLatestTiered = -5;
constexpr int64_t kEarliestPendingUpload = -6;

bool is_supported(int64_t timestamp, int16_t version) {
  switch (timestamp) {
    case kMaxTimestamp:
      return version >= 7;
    case kEarliestLocal:
      return version >= 8;
    case kLatestTiered:
      return version >= 9;
    case kEarliestPendingUpload:
      return version >= 11;
    default:
      return timestamp >= kEarliest;
  }
}

struct OffsetQuestion {
  TopicIdPartition id;
  int64_t timestamp;
  int32_t current_leader_epoch;
  bool reads_committed;
  bool is_consumer;
  ListOffsetsResponse::Topic::Partition* answer;
  bool needs_disk = false;
};

void answer_found(const storage::Log& log, const Result<std::optional<storage::TimestampOffset>>& found,
                  const storage::MissingData* missing, int64_t end_offset,
                  ListOffsetsResponse::Topic::Partition& answer) {
  if (!found) {
    if (missing == nullptr || !*missing) replication::note_failed_read(log, -1, found.error());
    answer.error_code = found.error().code;
    return;
  }
  // A record that isn't committed yet is not there for a consumer.
  if (!*found || (*found)->offset >= end_offset) return;
  answer.timestamp = (*found)->timestamp_ms;
  answer.offset = (*found)->offset;
  answer.leader_epoch = (*found)->leader_epoch;
}

void answer_offset(const Partition& partition, const OffsetQuestion& question,
                   storage::MissingData* missing) {
  ListOffsetsResponse::Topic::Partition& answer = *question.answer;
  const storage::Log& log = partition.log();
  int64_t end_offset = question.reads_committed ? partition.last_stable_offset() : partition.high_watermark();
  if (!question.is_consumer) end_offset = log.log_end_offset();
  switch (question.timestamp) {
    case kLatest:
      answer.offset = end_offset;
      answer.leader_epoch = partition.leader_epoch();
      return;
    case kEarliest:
    case kEarliestLocal:
      answer.offset = log.log_start_offset();
      answer.leader_epoch = partition.epoch_of(answer.offset).value_or(-1);
      return;
    case kMaxTimestamp:
      return answer_found(log, log.max_timestamp(missing), missing, end_offset, answer);
    case kLatestTiered:
    case kEarliestPendingUpload:
      return;  // nothing is tiered here: offset -1
    default:
      return answer_found(log, log.offset_for_timestamp(question.timestamp, missing), missing, end_offset,
                          answer);
  }
}

void ask(replication::PartitionTable& partitions, const OffsetQuestion& question,
         storage::MissingData* missing) {
  const auto partition = partitions.find(question.id);
  question.answer->error_code = partition ? partition->check_leader_epoch(question.current_leader_epoch)
                                          : partitions.absence(question.id);
  if (question.answer->error_code == ErrorCode::kNone) answer_offset(*partition, question, missing);
}

// Once more, with the help of the disk.
runtime::Task<> ask_again(Services& services, OffsetQuestion& question) {
  runtime::Shard& shard = services.shards.shard_of(question.id);
  auto work = [&]() -> runtime::Task<> {
    auto look = [&](storage::MissingData* missing) {
      ask(services.of(shard).partitions, question, missing);
      return question.answer->error_code;
    };
    co_await replication::look_up(services.cold_reads, look);
  };
  co_await shard.call(work);
}

// Partitions that a request names twice are refused, as Kafka does.
std::set<std::pair<std::string_view, int32_t>> duplicates_in(const ListOffsetsRequest& request) {
  std::set<std::pair<std::string_view, int32_t>> seen;
  std::set<std::pair<std::string_view, int32_t>> duplicates;
  for (const auto& topic : request.topics) {
    for (const auto& partition : topic.partitions) {
      const std::pair name{topic.name, partition.partition_index};
      if (!seen.insert(name).second) duplicates.insert(name);
    }
  }
  return duplicates;
}

}  // namespace

Task<> list_offsets(Context& context, const ListOffsetsRequest& request, ListOffsetsResponse& response) {
  const auto duplicates = duplicates_in(request);
  std::vector<OffsetQuestion> questions;
  const auto collect = [&](const NamedPartition& named, const ListOffsetsRequest::Topic::Partition& wanted,
                           ListOffsetsResponse::Topic::Partition& answer) {
    answer.error_code = named.error;
    if (duplicates.contains({named.topic, wanted.partition_index})) {
      answer.error_code = ErrorCode::kInvalidRequest;
    } else if (!is_supported(wanted.timestamp, context.version)) {
      answer.error_code = ErrorCode::kUnsupportedVersion;
    }
    if (answer.error_code != ErrorCode::kNone) return;
    questions.push_back({.id = named.id,
                         .timestamp = wanted.timestamp,
                         .current_leader_epoch = wanted.current_leader_epoch,
                         .reads_committed = request.isolation_level == 1,
                         .is_consumer = request.replica_id == -1,
                         .answer = &answer});
  };
  answer_each_partition(context, request, response, collect);
  auto ask_first = [](replication::PartitionTable& partitions, OffsetQuestion& question) {
    storage::MissingData missing;
    ask(partitions, question, &missing);
    question.needs_disk = static_cast<bool>(missing);
  };
  co_await on_owning_shards(context.services, questions, ask_first);
  for (OffsetQuestion& question : questions) {
    if (question.needs_disk) co_await ask_again(context.services, question);
  }
  if (context.version >= 4) co_return;
  // The schema doesn't let a leader epoch be dropped silently where the version has no place for it.
  for (const OffsetQuestion& question : questions) question.answer->leader_epoch = -1;
}

Task<> offset_for_leader_epoch(Context& context, const OffsetForLeaderEpochRequest& request,
                               OffsetForLeaderEpochResponse& response) {
  struct Question {
    TopicIdPartition id;
    int32_t current_leader_epoch;
    int32_t leader_epoch;
    OffsetForLeaderEpochResponse::Topic::Partition* answer;
  };
  std::vector<Question> questions;
  const auto collect = [&](const NamedPartition& named,
                           const OffsetForLeaderEpochRequest::Topic::Partition& wanted,
                           OffsetForLeaderEpochResponse::Topic::Partition& answer) {
    answer.error_code = named.error;
    if (named.error != ErrorCode::kNone) return;
    questions.push_back({named.id, wanted.current_leader_epoch, wanted.leader_epoch, &answer});
  };
  answer_each_partition(context, request, response, collect);
  auto ask = [](replication::PartitionTable& partitions, Question& question) {
    const auto partition = partitions.find(question.id);
    if (!partition) {
      question.answer->error_code = partitions.absence(question.id);
      return;
    }
    const auto end = partition->end_offset_for_epoch(question.current_leader_epoch, question.leader_epoch);
    if (!end) {
      question.answer->error_code = end.error().code;
      return;
    }
    question.answer->leader_epoch = end->epoch;
    question.answer->end_offset = end->end_offset;
  };
  co_await on_owning_shards(context.services, questions, ask);
}

Task<> delete_records(Context& context, const DeleteRecordsRequest& request,
                      DeleteRecordsResponse& response) {
  struct Order {
    TopicIdPartition id;
    int64_t before_offset;
    DeleteRecordsResponse::Topic::Partition* answer;
  };
  std::vector<Order> orders;
  const auto collect = [&](const NamedPartition& named, const DeleteRecordsRequest::Topic::Partition& wanted,
                           DeleteRecordsResponse::Topic::Partition& answer) {
    answer.low_watermark = -1;
    answer.error_code = named.error;
    if (named.error == ErrorCode::kNone) orders.push_back({named.id, wanted.offset, &answer});
  };
  answer_each_partition(context, request, response, collect);
  auto execute = [](replication::PartitionTable& partitions, Order& order) -> Task<> {
    const auto partition = partitions.find(order.id);
    if (!partition) {
      order.answer->error_code = partitions.absence(order.id);
      co_return;
    }
    const auto start = co_await partition->delete_records(order.before_offset);
    if (start)
      order.answer->low_watermark = *start;
    else
      order.answer->error_code = start.error().code;
  };
  co_await on_owning_shards(context.services, orders, execute);
}

}  // namespace millrace::api
