// Writes records to one topic: batches by partition, several requests on the way to each broker, tries again
// what may succeed, keeps each partition's order.
//
// One thread, no background work: things move inside send, poll and flush.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "protocol/batch_builder.h"
#include "tools/client/cluster.h"

namespace millrace::tools {

struct ProducerOptions {
  // 0: no answer is waited for; 1: the leader has it; -1: all in-sync replicas have it.
  int16_t acks = -1;
  protocol::Compression compression = protocol::Compression::kNone;
  std::optional<int> compression_level;
  // A batch is closed when it is this large, before compression.
  size_t batch_bytes = 256 * 1024;
  // How long a batch waits for more records while the caller polls.
  int64_t linger_ms = 5;
  // Requests on the way per broker. With idempotence the broker remembers five batches.
  int max_in_flight = 5;
  // No record twice and none out of order, whatever is sent again (KIP-98). Needs acks -1.
  bool idempotent = false;
  // The same where the broker lets us, and without where it doesn't.
  bool prefer_idempotent = false;
  // Without idempotence: a partition's next batch waits for the answer to the one before, or a repeat could
  // overtake it.
  bool keep_order = true;
  // How long a batch is tried, from when it was closed.
  int64_t delivery_timeout_ms = 30'000;
  // What waits in memory; send blocks above it.
  size_t buffer_bytes = 64 * 1024 * 1024;
};

// What became of one batch.
struct Delivery {
  int32_t partition = 0;
  int32_t record_count = 0;
  // As given to send, one per record; empty for batches that came ready-made.
  std::span<const int64_t> ordinals;
  // -1 when unknown: acks 0, or a repeat that the broker recognised without telling.
  int64_t base_offset = -1;
  // From the first record's send to the answer.
  int64_t latency_us = 0;
  size_t bytes = 0;
  // kNone: delivered. Otherwise none of the batch was, or with kRequestTimedOut and kNetworkException perhaps
  // it was.
  Error error{ErrorCode::kNone, {}};
};

class Producer {
 public:
  using OnDelivery = std::function<void(const Delivery&)>;

  // The cluster must outlive the producer, of which it has one at a time. Fails when the topic isn't there
  // (and may not create itself), or when the broker refuses a producer id.
  static Result<std::unique_ptr<Producer>> create(Cluster& cluster, const std::string& topic,
                                                  bool allow_auto_creation, const ProducerOptions& options,
                                                  OnDelivery on_delivery);

  ~Producer() { cluster_.when_closing({}); }
  Producer(const Producer&) = delete;

  int32_t partition_count() const { return static_cast<int32_t>(topic_.partitions.size()); }
  const TopicInfo& topic() const { return topic_; }
  // The partition for the next record without key: it stays the same until a batch is full, so that batches
  // fill.
  int32_t sticky_partition() const { return sticky_; }

  // Takes a record; kInvalidRequest for a partition that doesn't exist. `ordinal` comes back in Delivery.
  Result<void> send(int32_t partition, std::optional<Bytes> key, std::optional<Bytes> value,
                    std::span<const protocol::RecordHeader> headers, int64_t timestamp_ms, int64_t ordinal);
  // Takes a finished batch; its latency counts from `since_us` (steady_us()).
  Result<void> send_batch(int32_t partition, Buffer batch, int32_t record_count, int64_t since_us);

  // Sends what is due and handles answers; returns when something was answered or after `wait_ms`.
  void poll(int64_t wait_ms);
  // Returns when every record has been reported. A signal ends it early, and so does the limit: what is left
  // is then reported as failed. With acks 0 it also waits until the brokers have seen everything;
  // kNetworkException when one of them closed the connection meanwhile, which is how it says that it couldn't
  // take something.
  Result<void> flush(std::optional<int64_t> limit_ms = {});
  // Records that were taken and not yet reported.
  int64_t unreported() const { return unreported_; }
  size_t buffered_bytes() const { return buffered_bytes_; }

 private:
  struct Batch {
    Buffer bytes;
    int32_t partition = 0;
    int32_t record_count = 0;
    std::vector<int64_t> ordinals;
    int64_t serial = 0;
    int64_t first_record_us = 0;
    Deadline deadline = Deadline::after_ms(0);
    // The producer id that is stamped on it; none yet below 0.
    int64_t stamped_id = -1;
    Error last_error;
  };
  struct Partition {
    protocol::BatchBuilder builder;
    std::vector<int64_t> ordinals;
    int64_t first_record_us = 0;
    std::deque<Batch> ready;
    int in_flight = 0;
    // A batch came back: nothing more is sent before all on the way have been answered, for the order's sake.
    bool retrying = false;
    int64_t not_before_us = 0;
    int32_t next_sequence = 0;
  };
  struct Request {
    int32_t correlation_id = 0;
    std::vector<Batch> batches;
    Deadline deadline = Deadline::after_ms(0);
  };
  struct Line {
    Connection* connection = nullptr;
    std::deque<Request> requests;
    // Of the last request, unless it was answered.
    Error error{ErrorCode::kNone, {}};
  };

  Producer(Cluster& cluster, const ProducerOptions& options, OnDelivery on_delivery)
      : cluster_(cluster), options_(options), on_delivery_(std::move(on_delivery)) {
    cluster_.when_closing([this](const Connection* connection) { connection_closes(connection); });
  }

  Result<void> acquire_id();
  // Whether nothing speaks against the next batch's id: gets a new one where it must.
  bool have_id();
  Result<void> refresh_topic();
  void refresh_if_stale();
  void close_batch(int32_t partition);
  void enqueue(Batch batch);
  void close_lingering(bool all);
  void expire_overdue();
  // Why a batch that wasn't sent is still waiting.
  Error reason_to_wait(const Batch& batch);
  // The first deadline among the batches that wait to be sent; none if none does.
  std::optional<Deadline> first_deadline() const;
  void send_ready();
  std::vector<Batch> take_batches(int32_t leader);
  void stamp(Batch& batch);
  void send_request(int32_t leader, std::vector<Batch> batches);
  Result<int32_t> send_produce(Connection& connection, std::vector<Batch>& batches);
  bool read_answers(int64_t wait_ms);
  void take_answer(int32_t leader, Connection::Response response);
  void settle(Batch batch, ErrorCode code, std::string message, int64_t base_offset);
  void fail_line(int32_t leader, const Error& error);
  void connection_closes(const Connection* connection);
  void report(Batch batch, Error error, int64_t base_offset);
  void fail_everything(const Error& error);
  void see_through(Line& line, int64_t limit_ms);
  bool retriable(ErrorCode code) const;

  Cluster& cluster_;
  ProducerOptions options_;
  OnDelivery on_delivery_;
  TopicInfo topic_;
  std::vector<Partition> partitions_;
  std::map<int32_t, Line> lines_;
  int64_t producer_id_ = -1;
  int16_t producer_epoch_ = -1;
  // A batch is lost for good: the sequence has a gap, a fresh id starts a new one.
  bool needs_new_id_ = false;
  int64_t next_id_try_us_ = 0;
  bool stale_ = false;
  // Why there is no new id, and no new metadata, yet.
  Error id_error_{ErrorCode::kNone, {}};
  Error refresh_error_{ErrorCode::kNone, {}};
  // With acks 0: a connection ended, so records that were sent before may be lost.
  bool in_doubt_ = false;
  int64_t next_refresh_us_ = 0;
  int32_t sticky_ = 0;
  int64_t next_serial_ = 0;
  int64_t unreported_ = 0;
  size_t buffered_bytes_ = 0;
};

}  // namespace millrace::tools
