#include "tests/bench/commit_load.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <vector>

#include "protocol/messages/offset_commit.h"
#include "protocol/messages/offset_fetch.h"
#include "tests/bench/coordinators.h"
#include "tests/bench/request.h"

namespace millrace::bench {
namespace {

using protocol::OffsetCommitRequest;
using protocol::OffsetCommitResponse;
using protocol::OffsetFetchRequest;
using protocol::OffsetFetchResponse;

// The last versions that name topics by name.
constexpr int16_t kCommitVersion = 9;
constexpr int16_t kFetchVersion = 9;
constexpr size_t kGroupsPerFetch = 100;
constexpr int64_t kDrainTimeout_ns = 60'000'000'000;

std::string group_name(const CommitOptions& options, size_t number) {
  return fmt::format("{}-{}", options.prefix, number);
}

int64_t position(const CommitOptions& options, size_t group, int32_t partition) {
  return static_cast<int64_t>(group) * options.partitions + partition;
}

Buffer commit_frame(const CommitOptions& options, size_t group) {
  Arena arena;
  OffsetCommitRequest request;
  const std::string name = group_name(options, group);
  request.group_id = name;
  request.topics = arena.make_array<OffsetCommitRequest::Topic>(1);
  auto& topic = request.topics[0];
  topic.name = options.topic;
  topic.partitions =
      arena.make_array<OffsetCommitRequest::Topic::Partition>(static_cast<size_t>(options.partitions));
  for (int32_t p = 0; p < options.partitions; ++p) {
    auto& partition = topic.partitions[static_cast<size_t>(p)];
    partition.partition_index = p;
    partition.committed_offset = position(options, group, p);
    partition.committed_metadata = "";
  }
  return make_frame(request, kCommitVersion);
}

ErrorCode first_error(const OffsetCommitResponse& answer) {
  for (const auto& topic : answer.topics) {
    for (const auto& partition : topic.partitions) {
      if (partition.error_code != ErrorCode::kNone) return partition.error_code;
    }
  }
  return ErrorCode::kNone;
}

void await_all_coordinators(const CommitOptions& options) {
  std::vector<std::string> groups;
  for (size_t g = 0; g < options.groups; ++g) groups.push_back(group_name(options, g));
  await_coordinators(options.broker, groups);
}

class CommitLoad {
 public:
  explicit CommitLoad(const CommitOptions& options) : options_(options) {
    for (size_t i = 0; i < options.connections; ++i) {
      lines_.push_back(std::make_unique<Line>(options.broker));
      poller_.add(lines_.back()->socket, i);
    }
    for (size_t g = 0; g < options.groups; ++g) frames_.push_back(commit_frame(options, g));
  }

  LoadResult run() {
    LoadClock clock(options_, result_);
    clock_ = &clock;
    while (clock.running(now_ns())) {
      for (const auto& line : lines_) fill(*line);
      wait(clock.next_change_ns() - now_ns());
    }
    drain();
    return std::move(result_);
  }

  void run_once() {
    LoadClock clock(options_, result_);
    clock_ = &clock;
    const int64_t deadline_ns = now_ns() + kDrainTimeout_ns;
    while (turn_ < frames_.size()) {
      for (const auto& line : lines_) fill(*line, frames_.size());
      if (now_ns() > deadline_ns) throw std::runtime_error("commits take too long");
      wait(deadline_ns - now_ns());
    }
    drain();
  }

 private:
  struct Line {
    explicit Line(const std::string& broker) : socket(broker) {}
    Socket socket;
    std::deque<std::pair<int64_t, size_t>> in_flight;  // since when, how many bytes
  };

  void fill(Line& line, size_t limit = SIZE_MAX) {
    while (line.in_flight.size() < options_.depth && turn_ < limit) {
      const Buffer& frame = frames_[turn_++ % frames_.size()];
      line.socket.queue(frame);
      line.in_flight.emplace_back(now_ns(), frame.size());
    }
    line.socket.send();
  }

  void wait(int64_t timeout_ns) {
    poller_.wait(timeout_ns, [this](size_t i) {
      Line& line = *lines_[i];
      line.socket.receive([&](Bytes response) {
        Arena arena;
        check(first_error(decode_response<OffsetCommitResponse>(response, kCommitVersion, arena)));
        const auto [since_ns, bytes] = line.in_flight.front();
        line.in_flight.pop_front();
        clock_->count(options_.partitions, static_cast<int64_t>(bytes));
        if (clock_->measured(since_ns)) result_.latency.add((now_ns() - since_ns) / 1000);
      });
      line.socket.send();
    });
  }

  void drain() {
    const int64_t deadline_ns = now_ns() + kDrainTimeout_ns;
    while (std::ranges::any_of(lines_, [](const auto& line) { return !line->in_flight.empty(); })) {
      if (now_ns() > deadline_ns) throw std::runtime_error("the broker stopped answering");
      wait(deadline_ns - now_ns());
    }
  }

  const CommitOptions& options_;
  Poller poller_;
  std::vector<std::unique_ptr<Line>> lines_;
  std::vector<Buffer> frames_;
  size_t turn_ = 0;
  LoadClock* clock_ = nullptr;
  LoadResult result_;
};

// Reads all positions once, a hundred groups at a time, over one connection.
class PositionReader {
 public:
  explicit PositionReader(const CommitOptions& options) : options_(options) {
    for (size_t g = 0; g < options.groups; g += kGroupsPerFetch) {
      Arena arena;
      OffsetFetchRequest request;
      const size_t count = std::min(kGroupsPerFetch, options.groups - g);
      request.groups = arena.make_array<OffsetFetchRequest::Group>(count);
      for (size_t i = 0; i < count; ++i)
        request.groups[i].group_id = arena.copy(std::string_view(group_name(options, g + i)));
      for (auto& group : request.groups) group.topics = std::nullopt;
      frames_.push_back(make_frame(request, kFetchVersion));
    }
  }

  // False when a coordinator isn't ready; what came before isn't asked for again.
  bool read_on() {
    Socket socket(options_.broker);
    Poller poller;
    poller.add(socket, 0);
    const int64_t deadline_ns = now_ns() + kDrainTimeout_ns;
    bool ready = true;
    bool sent = false;
    while (next_ < frames_.size() && ready && now_ns() < deadline_ns) {
      if (!sent) socket.queue(frames_[next_]);
      sent = true;
      socket.send();
      poller.wait(deadline_ns - now_ns(), [&](size_t) {
        socket.receive([&](Bytes response) {
          ready = take(response);
          next_ += ready;
          sent = false;
        });
      });
    }
    return next_ == frames_.size();
  }

 private:
  bool take(Bytes response) {
    Arena arena;
    const auto answer = decode_response<OffsetFetchResponse>(response, kFetchVersion, arena);
    size_t number = next_ * kGroupsPerFetch;
    for (const auto& group : answer.groups) {
      if (group.error_code != ErrorCode::kNone) return false;
      size_t found = 0;
      for (const auto& topic : group.topics) {
        for (const auto& partition : topic.partitions) {
          if (partition.committed_offset != position(options_, number, partition.partition_index)) wrong();
          ++found;
        }
      }
      if (found != static_cast<size_t>(options_.partitions)) wrong();
      ++number;
    }
    return true;
  }

  // Trying again wouldn't make it right, so it must not look like a broker that isn't there yet.
  [[noreturn]] static void wrong() {
    std::fputs("a committed position is missing or wrong\n", stderr);
    std::_Exit(1);
  }

  const CommitOptions& options_;
  std::vector<Buffer> frames_;
  size_t next_ = 0;
};

}  // namespace

LoadResult run_commits(const CommitOptions& options) {
  if (options.awaits_coordinators) await_all_coordinators(options);
  return CommitLoad(options).run();
}

void fill_positions(const CommitOptions& options) {
  await_all_coordinators(options);
  CommitLoad(options).run_once();
}

int64_t await_positions(const CommitOptions& options) {
  PositionReader reader(options);
  return await(options.broker, [&] { return reader.read_on(); });
}

}  // namespace millrace::bench
