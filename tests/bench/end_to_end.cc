#include "tests/bench/end_to_end.h"

#include <sys/prctl.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <stdexcept>

#include "protocol/arena.h"
#include "protocol/batch_builder.h"
#include "protocol/error_code.h"
#include "protocol/header.h"
#include "protocol/messages/fetch.h"
#include "protocol/messages/produce.h"
#include "protocol/record_batch.h"
#include "tests/bench/frames.h"
#include "tests/bench/socket.h"

namespace millrace::bench {
namespace {

constexpr int32_t kMaxWait_ms = 500;
// After the last record was sent.
constexpr int64_t kDrainTimeout_ns = 30'000'000'000;
constexpr size_t kProducer = 0;
constexpr size_t kConsumer = 1;
constexpr int32_t kPartition = 0;

template <class Message>
Message decode_response(Bytes response, int16_t version, Arena& arena) {
  Bytes body;
  const auto header = protocol::decode_response_header(response, Message::kApi, version, body);
  if (!header) throw std::runtime_error(header.error().message);
  const auto decoded = protocol::decode<Message>(body, version, arena);
  if (!decoded) throw std::runtime_error(decoded.error().message);
  return *decoded;
}

void check(ErrorCode error) {
  if (error != ErrorCode::kNone) throw std::runtime_error("refused: " + std::string(error_name(error)));
}

class EndToEnd {
 public:
  explicit EndToEnd(const EndToEndOptions& options)
      : options_(options),
        producer_(options.broker),
        consumer_(options.broker),
        value_(options.record_bytes, std::byte{'x'}),
        interval_ns_(1'000'000'000 / options.rate) {
    // Timeouts at the moment they are due, not up to 50 us later.
    prctl(PR_SET_TIMERSLACK, 1);
    poller_.add(producer_, kProducer);
    poller_.add(consumer_, kConsumer);
  }

  LoadResult run() {
    LoadClock clock(options_, result_);
    clock_ = &clock;
    next_due_ns_ = now_ns() + interval_ns_;
    fetch();
    while (clock.running(now_ns())) {
      send_due();
      const int64_t next_ns =
          std::min(clock.next_change_ns(), in_flight_.size() < options_.depth ? next_due_ns_ : INT64_MAX);
      wait(next_ns - now_ns());
    }
    const int64_t deadline_ns = now_ns() + kDrainTimeout_ns;
    while (received_ < sent_) {
      if (now_ns() > deadline_ns) throw std::runtime_error("records are missing");
      wait(deadline_ns - now_ns());
    }
    return std::move(result_);
  }

 private:
  void wait(int64_t timeout_ns) {
    poller_.wait(timeout_ns, [this](size_t key) {
      if (key == kProducer) {
        producer_.receive([this](Bytes response) { take_acknowledgement(response); });
      } else {
        consumer_.receive([this](Bytes response) { take_records(response); });
        consumer_.send();
      }
      producer_.send();
    });
  }

  void send_due() {
    const int64_t now = now_ns();
    if (in_flight_.size() >= options_.depth || next_due_ns_ > now) return;
    protocol::BatchBuilder builder;
    for (; next_due_ns_ <= now; next_due_ns_ += interval_ns_) {
      std::memcpy(value_.data(), &next_due_ns_, sizeof next_due_ns_);
      builder.append(std::nullopt, value_, {}, 1'700'000'000'000);
      ++sent_;
    }
    PrebuiltBatch batch;
    batch.records = builder.record_count();
    auto built = builder.build();
    if (!built) throw std::runtime_error(built.error().message);
    batch.bytes = std::move(*built);
    in_flight_.push_back(make_produce_frame(options_.topic, {&kPartition, 1}, batch).bytes);
    producer_.queue(in_flight_.back());
    producer_.send();
  }

  void take_acknowledgement(Bytes response) {
    Arena arena;
    const auto message = decode_response<protocol::ProduceResponse>(response, kProduceVersion, arena);
    for (const auto& topic : message.responses) {
      for (const auto& partition : topic.partition_responses) check(partition.error_code);
    }
    in_flight_.pop_front();
  }

  void fetch() {
    const FetchPart part{.partition = kPartition, .offset = received_};
    request_ = make_fetch_frame(options_.topic, {&part, 1}, kMaxWait_ms);
    consumer_.queue(request_);
    consumer_.send();
  }

  void take_records(Bytes response) {
    const int64_t now = now_ns();
    Arena arena;
    const auto message = decode_response<protocol::FetchResponse>(response, kFetchVersion, arena);
    for (const auto& topic : message.responses) {
      for (const auto& partition : topic.partitions) {
        check(partition.error_code);
        if (!partition.records.bytes) continue;
        const auto each = [&](const protocol::BatchHeader&, Bytes batch) {
          take_batch(batch, now);
          return true;
        };
        const auto walked = protocol::for_each_batch(*partition.records.bytes, each);
        if (!walked) throw std::runtime_error(walked.error().message);
      }
    }
    fetch();
  }

  void take_batch(Bytes batch, int64_t now) {
    const auto each = [&](const protocol::RecordView& record) {
      if (record.offset < received_) return true;  // its batch began before what was asked for
      if (record.offset > received_) throw std::runtime_error("a record is missing");
      ++received_;
      int64_t due_ns = 0;
      std::memcpy(&due_ns, record.value->data(), sizeof due_ns);
      clock_->count(1, static_cast<int64_t>(record.value->size()));
      if (clock_->measuring()) result_.latency.add((now - due_ns) / 1000);
      return true;
    };
    const auto walked = protocol::for_each_record(batch, SIZE_MAX, each);
    if (!walked) throw std::runtime_error(walked.error().message);
  }

  const EndToEndOptions& options_;
  Socket producer_;
  Socket consumer_;
  Poller poller_;
  Buffer value_;
  const int64_t interval_ns_;
  int64_t next_due_ns_ = 0;
  std::deque<Buffer> in_flight_;
  Buffer request_;
  int64_t sent_ = 0;
  int64_t received_ = 0;
  LoadClock* clock_ = nullptr;
  LoadResult result_;
};

}  // namespace

LoadResult run_end_to_end(const EndToEndOptions& options) { return EndToEnd(options).run(); }

}  // namespace millrace::bench
