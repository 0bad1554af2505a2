#include "tools/client/producer.h"

#include <fmt/format.h>
#include <poll.h>

#include "protocol/messages/api_versions.h"
#include "protocol/messages/init_producer_id.h"
#include "protocol/record_batch.h"
#include "tools/interrupt.h"

namespace millrace::tools {
namespace {

constexpr int64_t kRetryPauseUs = 100'000;
constexpr int64_t kRefreshPauseUs = 200'000;
constexpr int64_t kIdPauseUs = 200'000;
constexpr int64_t kLoopWaitMs = 100;

}  // namespace

Result<std::unique_ptr<Producer>> Producer::create(Cluster& cluster, const std::string& topic,
                                                   bool allow_auto_creation, const ProducerOptions& options,
                                                   OnDelivery on_delivery) {
  std::unique_ptr<Producer> producer(new Producer(cluster, options, std::move(on_delivery)));
  Result<TopicInfo> info = cluster.topic(topic, allow_auto_creation);
  if (!info) return std::unexpected(info.error());
  producer->topic_ = std::move(*info);
  producer->partitions_.resize(producer->topic_.partitions.size());
  if (options.idempotent || options.prefer_idempotent) {
    const Result<void> acquired = producer->acquire_id();
    if (!acquired && options.idempotent) return std::unexpected(acquired.error());
    producer->options_.idempotent = acquired.has_value();
  }
  protocol::BatchOptions batch;
  batch.compression = options.compression;
  batch.compression_level = options.compression_level;
  for (Partition& partition : producer->partitions_) partition.builder.set_options(batch);
  // Processes that send little shouldn't all choose partition 0.
  producer->sticky_ = static_cast<int32_t>(steady_us() % producer->partition_count());
  return producer;
}

Result<void> Producer::acquire_id() {
  protocol::InitProducerIdRequest request;
  request.transactional_id.reset();
  request.transaction_timeout_ms = INT32_MAX;
  const auto verdict = [](const protocol::InitProducerIdResponse& answer) { return answer.error_code; };
  auto reply =
      cluster_.call<protocol::InitProducerIdResponse>([this] { return cluster_.any(); }, request, {verdict});
  if (!reply) return std::unexpected(reply.error());
  if (reply->message.error_code != ErrorCode::kNone) {
    return fail(reply->message.error_code,
                fmt::format("no producer id: {}", error_name(reply->message.error_code)));
  }
  producer_id_ = reply->message.producer_id;
  producer_epoch_ = reply->message.producer_epoch;
  for (Partition& partition : partitions_) partition.next_sequence = 0;
  return {};
}

bool Producer::have_id() {
  if (!needs_new_id_) return true;
  // The sequence starts anew, so nothing of the old one may be on the way.
  for (const Partition& partition : partitions_) {
    if (partition.in_flight > 0) return false;
  }
  const std::optional<Deadline> deadline = first_deadline();
  if (!deadline || steady_us() < next_id_try_us_) return false;
  const Cluster::OneTry one_try(cluster_, *deadline);
  const Result<void> acquired = acquire_id();
  next_id_try_us_ = acquired ? 0 : steady_us() + kIdPauseUs;
  id_error_ = acquired ? Error{ErrorCode::kNone, {}} : acquired.error();
  needs_new_id_ = !acquired;
  return acquired.has_value();
}

void Producer::refresh_if_stale() {
  const std::optional<Deadline> deadline = first_deadline();
  if (!stale_ || !deadline || steady_us() < next_refresh_us_) return;
  const Cluster::OneTry one_try(cluster_, *deadline);
  const Result<void> refreshed = refresh_topic();
  refresh_error_ = refreshed ? Error{ErrorCode::kNone, {}} : refreshed.error();
}

Result<void> Producer::refresh_topic() {
  Result<std::vector<TopicInfo>> found = cluster_.describe_topics(std::vector<std::string>{topic_.name});
  next_refresh_us_ = steady_us() + kRefreshPauseUs;
  if (!found) return std::unexpected(found.error());
  // A topic that is gone stays as it was: its batches fail with the broker's own error, in time.
  if (found->empty() || found->front().error != ErrorCode::kNone) return {};
  if (found->front().partitions.size() < partitions_.size()) return {};
  topic_ = std::move(found->front());
  stale_ = false;
  return {};
}

Result<void> Producer::send(int32_t partition, std::optional<Bytes> key, std::optional<Bytes> value,
                            std::span<const protocol::RecordHeader> headers, int64_t timestamp_ms,
                            int64_t ordinal) {
  if (partition < 0 || partition >= static_cast<int32_t>(partitions_.size())) {
    return fail(ErrorCode::kInvalidRequest, fmt::format("topic \"{}\" has no partition {}; it has {}, from 0",
                                                        topic_.name, partition, partitions_.size()));
  }
  Partition& target = partitions_[static_cast<size_t>(partition)];
  const size_t size = (key ? key->size() : 0) + (value ? value->size() : 0);
  const size_t before = target.builder.uncompressed_size_bytes();
  if (!target.builder.empty() && before + size > options_.batch_bytes) close_batch(partition);
  if (target.builder.empty()) target.first_record_us = steady_us();
  const size_t held = target.builder.uncompressed_size_bytes();
  target.builder.append(key, value, headers, timestamp_ms);
  target.ordinals.push_back(ordinal);
  buffered_bytes_ += target.builder.uncompressed_size_bytes() - held;
  ++unreported_;
  if (target.builder.uncompressed_size_bytes() >= options_.batch_bytes) close_batch(partition);
  while (buffered_bytes_ > options_.buffer_bytes && !interrupted()) poll(kLoopWaitMs);
  return {};
}

Result<void> Producer::send_batch(int32_t partition, Buffer batch, int32_t record_count, int64_t since_us) {
  Batch ready;
  ready.partition = partition;
  ready.record_count = record_count;
  ready.first_record_us = since_us;
  ready.bytes = std::move(batch);
  buffered_bytes_ += ready.bytes.size();
  unreported_ += record_count;
  enqueue(std::move(ready));
  while (buffered_bytes_ > options_.buffer_bytes && !interrupted()) poll(kLoopWaitMs);
  return {};
}

void Producer::close_batch(int32_t partition) {
  Partition& source = partitions_[static_cast<size_t>(partition)];
  if (source.builder.empty()) return;
  Batch batch;
  batch.partition = partition;
  batch.record_count = source.builder.record_count();
  batch.first_record_us = source.first_record_us;
  batch.ordinals = std::move(source.ordinals);
  source.ordinals.clear();
  // As in send: the header doesn't count before the builder is.
  buffered_bytes_ -= source.builder.uncompressed_size_bytes() - protocol::BatchHeader::kSize;
  Result<Buffer> built = source.builder.build();
  if (partition == sticky_) sticky_ = (sticky_ + 1) % partition_count();
  if (!built) return report(std::move(batch), built.error(), -1);
  batch.bytes = std::move(*built);
  buffered_bytes_ += batch.bytes.size();
  enqueue(std::move(batch));
}

void Producer::enqueue(Batch batch) {
  batch.serial = next_serial_++;
  batch.deadline = Deadline::after_ms(options_.delivery_timeout_ms);
  partitions_[static_cast<size_t>(batch.partition)].ready.push_back(std::move(batch));
  send_ready();
  // A caller that only sends makes progress too.
  if (read_answers(0)) send_ready();
}

void Producer::close_lingering(bool all) {
  const int64_t due_us = steady_us() - options_.linger_ms * 1000;
  for (size_t i = 0; i < partitions_.size(); ++i) {
    const Partition& partition = partitions_[i];
    if (!partition.builder.empty() && (all || partition.first_record_us <= due_us))
      close_batch(static_cast<int32_t>(i));
  }
}

void Producer::stamp(Batch& batch) {
  if (!options_.idempotent || batch.stamped_id == producer_id_) return;
  Result<protocol::BatchHeader> header = protocol::read_batch_header(batch.bytes);
  if (!header) return;
  Partition& partition = partitions_[static_cast<size_t>(batch.partition)];
  header->producer_id = producer_id_;
  header->producer_epoch = producer_epoch_;
  header->base_sequence = partition.next_sequence;
  // Sequence numbers start again at 0 after INT32_MAX.
  partition.next_sequence =
      static_cast<int32_t>((int64_t{partition.next_sequence} + batch.record_count) & 0x7fffffff);
  protocol::write_batch_header(*header, batch.bytes);
  protocol::update_crc(batch.bytes);
  batch.stamped_id = producer_id_;
}

bool Producer::retriable(ErrorCode code) const {
  // With sequences, what follows a lost batch is refused until that one has come through.
  return is_retriable(code) || (options_.idempotent && code == ErrorCode::kOutOfOrderSequenceNumber);
}

void Producer::settle(Batch batch, ErrorCode code, std::string message, int64_t base_offset) {
  Partition& partition = partitions_[static_cast<size_t>(batch.partition)];
  if (code == ErrorCode::kNone || code == ErrorCode::kDuplicateSequenceNumber) {
    return report(std::move(batch), {ErrorCode::kNone, {}}, base_offset);
  }
  Error error{code, message.empty() ? std::string(error_name(code))
                                    : fmt::format("{} ({})", message, error_name(code))};
  if (!retriable(code) || batch.deadline.passed() || interrupted()) {
    needs_new_id_ = needs_new_id_ || options_.idempotent;
    return report(std::move(batch), std::move(error), -1);
  }
  batch.last_error = std::move(error);
  partition.retrying = partition.in_flight > 0;
  partition.not_before_us = steady_us() + kRetryPauseUs;
  stale_ = true;
  auto place = partition.ready.begin();
  while (place != partition.ready.end() && place->serial < batch.serial) ++place;
  partition.ready.insert(place, std::move(batch));
}

void Producer::report(Batch batch, Error error, int64_t base_offset) {
  buffered_bytes_ -= batch.bytes.size();
  unreported_ -= batch.record_count;
  Delivery delivery;
  delivery.partition = batch.partition;
  delivery.record_count = batch.record_count;
  delivery.ordinals = batch.ordinals;
  delivery.base_offset = base_offset;
  delivery.latency_us = steady_us() - batch.first_record_us;
  delivery.bytes = batch.bytes.size();
  delivery.error = std::move(error);
  on_delivery_(delivery);
}

void Producer::poll(int64_t wait_ms) {
  close_lingering(false);
  expire_overdue();
  refresh_if_stale();
  send_ready();
  if (!read_answers(wait_ms)) return;
  send_ready();
}

Result<void> Producer::flush(std::optional<int64_t> limit_ms) {
  close_lingering(true);
  const Deadline limit = Deadline::after_ms(limit_ms.value_or(INT32_MAX));
  while (unreported_ > 0) {
    if (interrupted()) {
      fail_everything({ErrorCode::kRequestTimedOut, "interrupted before it was delivered"});
      return {};
    }
    poll(std::min(kLoopWaitMs, limit.left_ms()));
    if (!limit.passed()) continue;
    // What still waits to be sent knows why.
    expire_overdue();
    fail_everything({ErrorCode::kRequestTimedOut, "no answer in time"});
  }
  if (options_.acks != 0) return {};
  for (auto& [leader, line] : lines_) see_through(line, limit.left_ms());
  if (!std::exchange(in_doubt_, false)) return {};
  return fail(ErrorCode::kNetworkException,
              "the broker closed the connection; with acks 0 it doesn't say which records it didn't take");
}

void Producer::see_through(Line& line, int64_t limit_ms) {
  if (line.connection == nullptr) return;
  // Requests of a connection are handled in order: an answer means that all before it have been.
  Result<int16_t> version = line.connection->version_of(ApiKey::kApiVersions, 2);
  protocol::ApiVersionsRequest request;
  if (version && line.connection->call<protocol::ApiVersionsResponse>(request, *version, limit_ms)) return;
  cluster_.drop(line.connection);
}

void Producer::fail_everything(const Error& error) {
  for (auto& [leader, line] : lines_) {
    if (line.connection != nullptr) cluster_.drop(line.connection);
    for (Request& request : line.requests) {
      for (Batch& batch : request.batches) report(std::move(batch), error, -1);
    }
  }
  lines_.clear();
  for (Partition& partition : partitions_) {
    while (!partition.ready.empty()) {
      Batch batch = std::move(partition.ready.front());
      partition.ready.pop_front();
      report(std::move(batch), error, -1);
    }
  }
}

}  // namespace millrace::tools
