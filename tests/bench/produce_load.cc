#include "tests/bench/produce_load.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <stdexcept>

#include "protocol/arena.h"
#include "protocol/error_code.h"
#include "protocol/header.h"
#include "protocol/messages/produce.h"
#include "tests/bench/socket.h"

namespace millrace::bench {
namespace {

constexpr int64_t kDrainTimeout_ns = 60'000'000'000;

struct InFlight {
  const ProduceFrame* frame;
  int64_t queued_ns;
};

struct Line {
  explicit Line(const std::string& broker) : socket(broker) {}
  Socket socket;
  bool watching_output = false;
  std::deque<InFlight> in_flight;
  // Of an idempotent producer: its own frames, at least as many as may be in flight, and its sequences.
  std::vector<ProduceFrame> own_frames;
  std::vector<int32_t> sequences;
  size_t turn = 0;
};

class ProduceLoad {
 public:
  explicit ProduceLoad(const ProduceOptions& options) : options_(options) {
    const PrebuiltBatch batch = make_batch(options.shape);
    batch_records_ = batch.records;
    std::vector<int32_t> partitions(static_cast<size_t>(options.partitions));
    std::iota(partitions.begin(), partitions.end(), 0);
    const auto step = static_cast<size_t>(options.partitions_per_request);
    for (size_t at = 0; at < partitions.size(); at += step) {
      const std::span<const int32_t> some(partitions.data() + at, std::min(step, partitions.size() - at));
      frames_.push_back(make_produce_frame(options.topic, some, batch));
    }
    for (size_t i = 0; i < options.connections; ++i) {
      lines_.push_back(std::make_unique<Line>(options.broker));
      poller_.add(lines_.back()->socket, i);
      if (options.idempotent) give_own_frames(*lines_.back());
    }
  }

  LoadResult run() {
    LoadClock clock(options_, result_);
    clock_ = &clock;
    while (clock.running(now_ns())) {
      for (size_t i = 0; i < lines_.size(); ++i) fill(i);
      poller_.wait(clock.next_change_ns() - now_ns(), [this](size_t i) { receive(*lines_[i]); });
    }
    drain();
    return std::move(result_);
  }

 private:
  void give_own_frames(Line& line) const {
    while (line.own_frames.size() < options_.depth + frames_.size()) {
      line.own_frames.insert(line.own_frames.end(), frames_.begin(), frames_.end());
    }
    line.sequences.resize(static_cast<size_t>(options_.partitions));
  }

  const ProduceFrame& next_frame(size_t i) {
    Line& line = *lines_[i];
    if (!options_.idempotent) return frames_[turn_++ % frames_.size()];
    ProduceFrame& frame = line.own_frames[line.turn++ % line.own_frames.size()];
    std::vector<int32_t> sequences;
    for (const int32_t partition : frame.partitions) {
      int32_t& next = line.sequences[static_cast<size_t>(partition)];
      sequences.push_back(next);
      next += batch_records_;
    }
    stamp(frame, kFirstProducerId + static_cast<int64_t>(i), sequences);
    return frame;
  }

  void fill(size_t i) {
    Line& line = *lines_[i];
    while (line.in_flight.size() < options_.depth) {
      const ProduceFrame& frame = next_frame(i);
      line.socket.queue(frame.bytes);
      line.in_flight.push_back({&frame, now_ns()});
    }
    line.socket.send();
    if (line.socket.sending() == line.watching_output) return;
    line.watching_output = line.socket.sending();
    poller_.watch_output(line.socket, i, line.watching_output);
  }

  void receive(Line& line) {
    line.socket.receive([this, &line](Bytes response) {
      const InFlight done = line.in_flight.front();
      line.in_flight.pop_front();
      check(response);
      clock_->count(done.frame->records, static_cast<int64_t>(done.frame->bytes.size()));
      if (clock_->measured(done.queued_ns)) result_.latency.add((now_ns() - done.queued_ns) / 1000);
    });
  }

  static void check(Bytes response) {
    Arena arena;
    Bytes body;
    const auto header =
        protocol::decode_response_header(response, protocol::ApiKey::kProduce, kProduceVersion, body);
    if (!header) throw std::runtime_error(header.error().message);
    const auto decoded = protocol::decode<protocol::ProduceResponse>(body, kProduceVersion, arena);
    if (!decoded) throw std::runtime_error(decoded.error().message);
    for (const auto& topic : decoded->responses) {
      for (const auto& partition : topic.partition_responses) {
        if (partition.error_code == ErrorCode::kNone) continue;
        throw std::runtime_error("produce was refused: " + std::string(error_name(partition.error_code)) +
                                 " " + std::string(partition.error_message.value_or("")));
      }
    }
  }

  // What is in flight will be stored: a consumer that counts must count it, too.
  void drain() {
    const int64_t deadline_ns = now_ns() + kDrainTimeout_ns;
    const auto busy = [](const auto& line) { return !line->in_flight.empty(); };
    while (std::any_of(lines_.begin(), lines_.end(), busy)) {
      if (now_ns() > deadline_ns) throw std::runtime_error("the broker stopped answering");
      poller_.wait(deadline_ns - now_ns(), [this](size_t i) {
        lines_[i]->socket.send();
        receive(*lines_[i]);
      });
    }
  }

  // Made up: a broker takes any id that it hasn't seen, with sequences from 0 on.
  static constexpr int64_t kFirstProducerId = 1'000'000;

  const ProduceOptions& options_;
  int32_t batch_records_ = 0;
  std::vector<ProduceFrame> frames_;
  size_t turn_ = 0;
  Poller poller_;
  std::vector<std::unique_ptr<Line>> lines_;
  LoadClock* clock_ = nullptr;
  LoadResult result_;
};

}  // namespace

LoadResult run_produce(const ProduceOptions& options) { return ProduceLoad(options).run(); }

}  // namespace millrace::bench
