// The producer's wire side: which batches go into which request, and what the answers mean.
#include <fmt/format.h>

#include "protocol/messages/produce.h"
#include "tools/client/producer.h"
#include "tools/interrupt.h"

namespace millrace::tools {
namespace {

// From this version on requests name topics by id.
constexpr int16_t kFirstVersionWithTopicId = 13;

std::string explain(const protocol::ProduceResponse::Topic::Partition& answer) {
  std::string message(answer.error_message.value_or(""));
  for (const auto& record : answer.record_errors) {
    if (!record.batch_index_error_message) continue;
    message += fmt::format("{}record {} of the batch: {}", message.empty() ? "" : "; ", record.batch_index,
                           *record.batch_index_error_message);
  }
  return message;
}

}  // namespace

void Producer::expire_overdue() {
  for (Partition& partition : partitions_) {
    while (!partition.ready.empty() && partition.ready.front().deadline.passed()) {
      Batch batch = std::move(partition.ready.front());
      partition.ready.pop_front();
      Error error = reason_to_wait(batch);
      needs_new_id_ = needs_new_id_ || batch.stamped_id >= 0;
      report(std::move(batch), std::move(error), -1);
    }
  }
}

Error Producer::reason_to_wait(const Batch& batch) {
  if (!batch.last_error.message.empty()) return batch.last_error;
  if (needs_new_id_ && !id_error_.message.empty()) return id_error_;
  if (!refresh_error_.message.empty()) return refresh_error_;
  const int32_t leader = topic_.partitions[static_cast<size_t>(batch.partition)].leader;
  if (leader < 0) return {ErrorCode::kLeaderNotAvailable, "the partition has no leader"};
  if (!lines_[leader].error.message.empty()) return lines_[leader].error;
  return {ErrorCode::kRequestTimedOut, "its turn to be sent didn't come in time"};
}

std::optional<Deadline> Producer::first_deadline() const {
  std::optional<Deadline> first;
  for (const Partition& partition : partitions_) {
    if (partition.ready.empty()) continue;
    const Deadline deadline = partition.ready.front().deadline;
    first = first ? std::min(*first, deadline) : deadline;
  }
  return first;
}

void Producer::send_ready() {
  // First, for an id may be long in coming.
  expire_overdue();
  if (!have_id()) return;
  std::vector<int32_t> leaders;
  const int64_t now_us = steady_us();
  for (size_t i = 0; i < partitions_.size(); ++i) {
    const Partition& partition = partitions_[i];
    if (partition.ready.empty() || partition.not_before_us > now_us) continue;
    const int32_t leader = topic_.partitions[i].leader;
    if (leader < 0) stale_ = true;
    if (leader >= 0 && std::find(leaders.begin(), leaders.end(), leader) == leaders.end())
      leaders.push_back(leader);
  }
  for (const int32_t leader : leaders) {
    while (lines_[leader].requests.size() < static_cast<size_t>(options_.max_in_flight)) {
      std::vector<Batch> batches = take_batches(leader);
      if (batches.empty()) break;
      send_request(leader, std::move(batches));
    }
  }
}

std::vector<Producer::Batch> Producer::take_batches(int32_t leader) {
  std::vector<Batch> batches;
  const int64_t now_us = steady_us();
  for (size_t i = 0; i < partitions_.size(); ++i) {
    Partition& partition = partitions_[i];
    if (topic_.partitions[i].leader != leader || partition.ready.empty()) continue;
    const bool must_wait = partition.retrying || (options_.keep_order && !options_.idempotent);
    if ((must_wait && partition.in_flight > 0) || partition.not_before_us > now_us) continue;
    partition.retrying = false;
    batches.push_back(std::move(partition.ready.front()));
    partition.ready.pop_front();
    ++partition.in_flight;
    stamp(batches.back());
  }
  return batches;
}

void Producer::send_request(int32_t leader, std::vector<Batch> batches) {
  Line& line = lines_[leader];
  Result<int32_t> sent = 0;
  Deadline deadline = batches.front().deadline;
  for (const Batch& batch : batches) deadline = std::min(deadline, batch.deadline);
  const Cluster::OneTry one_try(cluster_, deadline);
  if (Result<Connection*> connection = cluster_.broker(leader); connection) {
    line.connection = *connection;
    sent = send_produce(**connection, batches);
  } else {
    sent = std::unexpected(connection.error());
  }
  if (sent && options_.acks == 0) {
    for (Batch& batch : batches) {
      --partitions_[static_cast<size_t>(batch.partition)].in_flight;
      report(std::move(batch), {ErrorCode::kNone, {}}, -1);
    }
    return;
  }
  Request request;
  request.correlation_id = sent.value_or(-1);
  request.batches = std::move(batches);
  request.deadline = Deadline::after_ms(cluster_.options().timeout_ms);
  line.requests.push_back(std::move(request));
  if (!sent) fail_line(leader, sent.error());
}

Result<int32_t> Producer::send_produce(Connection& connection, std::vector<Batch>& batches) {
  using Message = protocol::ProduceRequest;
  const int16_t limit = topic_.id.is_zero() ? kFirstVersionWithTopicId - 1 : INT16_MAX;
  const Result<int16_t> version = connection.version_of(ApiKey::kProduce, limit);
  if (!version) return std::unexpected(version.error());
  std::vector<Message::Topic> topics(1);
  std::vector<Message::Topic::Partition> partitions;
  for (const Batch& batch : batches) {
    Message::Topic::Partition& partition = partitions.emplace_back();
    partition.index = batch.partition;
    partition.records = protocol::Records::of(batch.bytes);
  }
  topics[0].name = topic_.name;
  topics[0].topic_id = topic_.id;
  topics[0].partition_data = partitions;
  Message request;
  request.acks = options_.acks;
  request.timeout_ms = static_cast<int32_t>(cluster_.options().timeout_ms);
  request.topic_data = topics;
  return connection.send(request, *version, options_.acks != 0);
}

bool Producer::read_answers(int64_t wait_ms) {
  std::vector<int> fds;
  std::vector<int32_t> leaders;
  for (const auto& [leader, line] : lines_) {
    if (line.requests.empty()) continue;
    fds.push_back(line.connection->fd());
    leaders.push_back(leader);
  }
  // With nothing on the way this is the pause before a retry.
  const std::vector<size_t> ready = wait_readable(fds, Deadline::after_ms(wait_ms));
  for (const size_t i : ready) {
    Result<Connection::Response> response = lines_[leaders[i]].connection->receive(Deadline::after_ms(0));
    if (response) {
      take_answer(leaders[i], std::move(*response));
    } else if (response.error().code != ErrorCode::kRequestTimedOut) {
      fail_line(leaders[i], response.error());
    }
  }
  for (const int32_t leader : leaders) {
    const Line& line = lines_[leader];
    if (line.requests.empty() || !line.requests.front().deadline.passed()) continue;
    fail_line(leader, {ErrorCode::kRequestTimedOut, fmt::format("{}: no answer to Produce in time",
                                                                line.connection->address().to_string())});
  }
  return !ready.empty();
}

void Producer::take_answer(int32_t leader, Connection::Response response) {
  auto reply = Connection::parse<protocol::ProduceResponse>(std::move(response));
  if (!reply) return fail_line(leader, reply.error());
  Line& line = lines_[leader];
  line.error = {ErrorCode::kNone, {}};
  Request request = std::move(line.requests.front());
  line.requests.pop_front();
  for (Batch& batch : request.batches) --partitions_[static_cast<size_t>(batch.partition)].in_flight;
  for (Batch& batch : request.batches) {
    const protocol::ProduceResponse::Topic::Partition* found = nullptr;
    for (const auto& topic : reply->message.responses) {
      for (const auto& partition : topic.partition_responses) {
        if (partition.index == batch.partition) found = &partition;
      }
    }
    if (found == nullptr) {
      settle(std::move(batch), ErrorCode::kUnknownServerError,
             "the broker's answer doesn't name the partition", -1);
    } else {
      settle(std::move(batch), found->error_code, explain(*found), found->base_offset);
    }
  }
}

void Producer::fail_line(int32_t leader, const Error& error) {
  Line& line = lines_[leader];
  std::deque<Request> requests = std::move(line.requests);
  line.requests.clear();
  if (line.connection != nullptr) cluster_.drop(line.connection);
  line.error = error;
  for (Request& request : requests) {
    for (Batch& batch : request.batches) --partitions_[static_cast<size_t>(batch.partition)].in_flight;
  }
  for (Request& request : requests) {
    for (Batch& batch : request.batches) settle(std::move(batch), error.code, error.message, -1);
  }
}

// By whoever has found out: only on one that is idle do others do so.
void Producer::connection_closes(const Connection* connection) {
  for (auto& [leader, line] : lines_) {
    if (line.connection != connection) continue;
    line.connection = nullptr;
    in_doubt_ = in_doubt_ || options_.acks == 0;
  }
}

}  // namespace millrace::tools
