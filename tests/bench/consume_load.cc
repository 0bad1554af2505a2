#include "tests/bench/consume_load.h"

#include <algorithm>
#include <memory>
#include <stdexcept>

#include "protocol/arena.h"
#include "protocol/error_code.h"
#include "protocol/header.h"
#include "protocol/messages/fetch.h"
#include "protocol/record_batch.h"
#include "tests/bench/frames.h"
#include "tests/bench/socket.h"

namespace millrace::bench {
namespace {

using protocol::FetchResponse;

constexpr int32_t kMaxWait_ms = 500;

struct Reader {
  explicit Reader(const std::string& broker) : socket(broker) {}
  Socket socket;
  std::vector<FetchPart> parts;
  std::vector<int64_t> ends;  // the high watermarks as last heard; -1 before
  Buffer request;
  int64_t asked_ns = 0;
  bool finished = false;
};

class ConsumeLoad {
 public:
  ConsumeLoad(const LoadOptions& options, bool once) : options_(options), once_(once) {
    for (size_t i = 0; i < options.connections; ++i) {
      readers_.push_back(std::make_unique<Reader>(options.broker));
      poller_.add(readers_.back()->socket, i);
      rewind(*readers_.back());
    }
  }

  LoadResult run() {
    LoadClock clock(options_, result_);
    clock_ = &clock;
    for (const auto& reader : readers_) ask(*reader);
    while (clock.running(now_ns()) && !finished()) {
      poller_.wait(clock.next_change_ns() - now_ns(), [this](size_t i) { receive(*readers_[i]); });
    }
    return std::move(result_);
  }

 private:
  bool finished() const {
    return std::all_of(readers_.begin(), readers_.end(), [](const auto& reader) { return reader->finished; });
  }

  void rewind(Reader& reader) const {
    reader.parts.clear();
    for (int32_t i = 0; i < options_.partitions; ++i) reader.parts.push_back({.partition = i, .offset = 0});
    reader.ends.assign(reader.parts.size(), -1);
  }

  void ask(Reader& reader) const {
    // As librdkafka and the Java client do, the partition that was served goes to the end of the line.
    std::rotate(reader.parts.begin(), reader.parts.begin() + 1, reader.parts.end());
    reader.request = make_fetch_frame(options_.topic, reader.parts, kMaxWait_ms);
    reader.asked_ns = now_ns();
    reader.socket.queue(reader.request);
    reader.socket.send();
  }

  void receive(Reader& reader) {
    reader.socket.receive([this, &reader](Bytes response) {
      take(reader, response);
      const bool at_end = std::all_of(reader.parts.begin(), reader.parts.end(), [&](const FetchPart& part) {
        return part.offset == reader.ends[static_cast<size_t>(part.partition)];
      });
      reader.finished = once_ && at_end;
      if (at_end) rewind(reader);
      if (!reader.finished) ask(reader);
    });
    reader.socket.send();
  }

  void take(Reader& reader, Bytes response) {
    Arena arena;
    Bytes body;
    const auto header =
        protocol::decode_response_header(response, protocol::ApiKey::kFetch, kFetchVersion, body);
    if (!header) throw std::runtime_error(header.error().message);
    const auto decoded = protocol::decode<FetchResponse>(body, kFetchVersion, arena);
    if (!decoded) throw std::runtime_error(decoded.error().message);
    int64_t records = 0;
    std::vector<FetchPart*> by_partition(reader.parts.size());
    for (FetchPart& part : reader.parts) by_partition[static_cast<size_t>(part.partition)] = &part;
    for (const FetchResponse::Topic& topic : decoded->responses) {
      for (const FetchResponse::Topic::Partition& partition : topic.partitions) {
        FetchPart& part = *by_partition.at(static_cast<size_t>(partition.partition_index));
        records += take_partition(part, partition);
        reader.ends[static_cast<size_t>(part.partition)] = partition.high_watermark;
      }
    }
    clock_->count(records, static_cast<int64_t>(response.size()));
    if (clock_->measuring()) result_.latency.add((now_ns() - reader.asked_ns) / 1000);
  }

  static int64_t take_partition(FetchPart& part, const FetchResponse::Topic::Partition& partition) {
    if (partition.error_code != ErrorCode::kNone) {
      throw std::runtime_error("fetch was refused: " + std::string(error_name(partition.error_code)));
    }
    const int64_t before = part.offset;
    const auto follow = [&part](const protocol::BatchHeader& header, Bytes) {
      if (header.base_offset != part.offset) throw std::runtime_error("a batch is missing or out of order");
      part.offset = header.last_offset() + 1;
      return true;
    };
    if (partition.records.bytes) {
      const auto walked = protocol::for_each_batch(*partition.records.bytes, follow);
      if (!walked) throw std::runtime_error(walked.error().message);
    }
    return part.offset - before;
  }

  const LoadOptions& options_;
  const bool once_;
  Poller poller_;
  std::vector<std::unique_ptr<Reader>> readers_;
  LoadClock* clock_ = nullptr;
  LoadResult result_;
};

}  // namespace

LoadResult run_consume(const LoadOptions& options, bool once) { return ConsumeLoad(options, once).run(); }

}  // namespace millrace::bench
