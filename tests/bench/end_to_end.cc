#include "tests/bench/end_to_end.h"

#include <sys/prctl.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "protocol/arena.h"
#include "protocol/batch_builder.h"
#include "protocol/messages/fetch.h"
#include "protocol/messages/offset_commit.h"
#include "protocol/messages/produce.h"
#include "protocol/record_batch.h"
#include "tests/bench/coordinators.h"
#include "tests/bench/frames.h"
#include "tests/bench/request.h"
#include "tests/bench/socket.h"

namespace millrace::bench {
namespace {

constexpr int32_t kMaxWait_ms = 500;
// After the last record was sent.
constexpr int64_t kDrainTimeout_ns = 30'000'000'000;
constexpr size_t kProducer = 0;
constexpr size_t kCommitter = 1;
constexpr size_t kFirstReader = 2;
constexpr int64_t kCommitInterval_ns = 1'000'000'000;
constexpr int32_t kPartition = 0;
constexpr int16_t kCommitVersion = 9;
constexpr size_t kMaxBatchBytes = 500'000;

class EndToEnd {
 public:
  explicit EndToEnd(const EndToEndOptions& options)
      : options_(options),
        producer_(options.broker),
        committer_(options.broker),
        value_(options.record_bytes, std::byte{'x'}),
        interval_ns_(1'000'000'000 / options.rate) {
    // Timeouts at the moment they are due, not up to 50 us later.
    prctl(PR_SET_TIMERSLACK, 1);
    poller_.add(producer_, kProducer);
    poller_.add(committer_, kCommitter);
    for (size_t i = 0; i < options.readers; ++i) {
      readers_.push_back(std::make_unique<Reader>(options.broker));
      poller_.add(readers_.back()->socket, kFirstReader + i);
      groups_.push_back("end-to-end-" + std::to_string(i));
    }
  }

  LoadResult run() {
    LoadClock clock(options_, result_);
    clock_ = &clock;
    if (options_.commits) await_coordinators(options_.broker, groups_);
    next_due_ns_ = now_ns() + interval_ns_;
    next_commit_ns_ = now_ns() + kCommitInterval_ns;
    for (const auto& reader : readers_) fetch(*reader);
    while (clock.running(now_ns())) {
      send_due(now_ns());
      if (options_.commits && next_commit_ns_ <= now_ns()) commit();
      const int64_t next_ns =
          std::min(clock.next_change_ns(), in_flight_.size() < options_.depth ? next_due_ns_ : INT64_MAX);
      wait(next_ns - now_ns());
    }
    const int64_t deadline_ns = now_ns() + kDrainTimeout_ns;
    const int64_t last_due_ns = clock.ended_ns() - 1;
    const auto behind = [this](const auto& reader) { return reader->received < sent_; };
    while (next_due_ns_ <= last_due_ns || std::ranges::any_of(readers_, behind)) {
      if (now_ns() > deadline_ns) throw std::runtime_error("records are missing");
      send_due(last_due_ns);
      wait(deadline_ns - now_ns());
    }
    return std::move(result_);
  }

 private:
  struct Reader {
    explicit Reader(const std::string& broker) : socket(broker) {}
    Socket socket;
    Buffer request;
    int64_t received = 0;
  };

  void wait(int64_t timeout_ns) {
    poller_.wait(timeout_ns, [this](size_t key) {
      if (key == kProducer) {
        producer_.receive([this](Bytes response) { take_acknowledgement(response); });
      } else if (key == kCommitter) {
        committer_.receive([](Bytes response) { take_commit(response); });
        committer_.send();
      } else {
        Reader& reader = *readers_[key - kFirstReader];
        reader.socket.receive([&](Bytes response) { take_records(reader, response); });
        reader.socket.send();
      }
      producer_.send();
    });
  }

  // Those that were due by then, in one batch.
  void send_due(int64_t until_ns) {
    if (in_flight_.size() >= options_.depth || next_due_ns_ > until_ns) return;
    protocol::BatchBuilder builder;
    const size_t at_most = kMaxBatchBytes / options_.record_bytes;
    for (size_t i = 0; next_due_ns_ <= until_ns && i < at_most; ++i, next_due_ns_ += interval_ns_) {
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

  void fetch(Reader& reader) {
    const FetchPart part{.partition = kPartition, .offset = reader.received};
    reader.request = make_fetch_frame(options_.topic, {&part, 1}, kMaxWait_ms);
    reader.socket.queue(reader.request);
    reader.socket.send();
  }

  void take_records(Reader& reader, Bytes response) {
    const int64_t now = now_ns();
    Arena arena;
    const auto message = decode_response<protocol::FetchResponse>(response, kFetchVersion, arena);
    for (const auto& topic : message.responses) {
      for (const auto& partition : topic.partitions) {
        check(partition.error_code);
        if (!partition.records.bytes) continue;
        const auto each = [&](const protocol::BatchHeader&, Bytes batch) {
          take_batch(reader, batch, now);
          return true;
        };
        const auto walked = protocol::for_each_batch(*partition.records.bytes, each);
        if (!walked) throw std::runtime_error(walked.error().message);
      }
    }
    fetch(reader);
  }

  void take_batch(Reader& reader, Bytes batch, int64_t now) {
    const auto each = [&](const protocol::RecordView& record) {
      if (record.offset < reader.received) return true;  // its batch began before what was asked for
      if (record.offset > reader.received) throw std::runtime_error("a record is missing");
      ++reader.received;
      int64_t due_ns = 0;
      std::memcpy(&due_ns, record.value->data(), sizeof due_ns);
      clock_->count(1, static_cast<int64_t>(record.value->size()));
      if (clock_->measured(due_ns)) result_.latency.add((now - due_ns) / 1000);
      return true;
    };
    const auto walked = protocol::for_each_record(batch, SIZE_MAX, each);
    if (!walked) throw std::runtime_error(walked.error().message);
  }

  void commit() {
    next_commit_ns_ += kCommitInterval_ns;
    if (committer_.sending()) return;
    commit_frames_.clear();
    for (size_t i = 0; i < readers_.size(); ++i) {
      protocol::OffsetCommitRequest request;
      request.group_id = groups_[i];
      protocol::OffsetCommitRequest::Topic::Partition partition;
      partition.partition_index = kPartition;
      partition.committed_offset = readers_[i]->received;
      protocol::OffsetCommitRequest::Topic topic;
      topic.name = options_.topic;
      topic.partitions = {&partition, 1};
      request.topics = {&topic, 1};
      commit_frames_.push_back(make_frame(request, kCommitVersion));
    }
    for (const Buffer& frame : commit_frames_) committer_.queue(frame);
    committer_.send();
  }

  static void take_commit(Bytes response) {
    Arena arena;
    const auto message = decode_response<protocol::OffsetCommitResponse>(response, kCommitVersion, arena);
    for (const auto& topic : message.topics) {
      for (const auto& partition : topic.partitions) check(partition.error_code);
    }
  }

  const EndToEndOptions& options_;
  Socket producer_;
  Socket committer_;
  std::vector<Buffer> commit_frames_;
  int64_t next_commit_ns_ = 0;
  std::vector<std::unique_ptr<Reader>> readers_;
  std::vector<std::string> groups_;
  Poller poller_;
  Buffer value_;
  const int64_t interval_ns_;
  int64_t next_due_ns_ = 0;
  std::deque<Buffer> in_flight_;
  int64_t sent_ = 0;
  LoadClock* clock_ = nullptr;
  LoadResult result_;
};

}  // namespace

LoadResult run_end_to_end(const EndToEndOptions& options) { return EndToEnd(options).run(); }

}  // namespace millrace::bench
