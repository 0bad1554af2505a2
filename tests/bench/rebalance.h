// How long a group takes to agree: all its members at once in one process, each with a connection of its own.
// They join, one of them leaves, and another one joins in its place.
//
// What a member needs to know of a change it learns from its next heartbeat. When that comes isn't the
// broker's doing, so all heartbeats fall due the moment that a member has left or joined.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/bench/process_usage.h"
#include "tests/bench/request.h"
#include "tests/bench/socket.h"

namespace millrace::bench {

struct RebalanceOptions {
  std::string broker;
  std::string group;
  std::string topic;
  int32_t partitions = 1000;
  size_t members = 100;
  pid_t server_pid = 0;
  // Between two heartbeats of a member, at most. 0: as the broker says; members of classic groups, who choose
  // for themselves, have 10 ms.
  int64_t heartbeat_ms = 0;
};

struct RebalancePhase {
  double ms = 0;  // until every member has its final assignment
  double cpu_s = 0;
  int64_t requests = 0;
};

struct RebalanceResult {
  RebalancePhase first;  // all of them join
  RebalancePhase leave;
  RebalancePhase join;
};

// Throw std::runtime_error when something is refused, a partition is not assigned exactly once, or it takes
// too long.
RebalanceResult run_classic_rebalance(const RebalanceOptions& options);
RebalanceResult run_consumer_rebalance(const RebalanceOptions& options);

// What both protocols have in common: who is in, whose request is open, whose heartbeat is due.
class Rebalance {
 public:
  explicit Rebalance(const RebalanceOptions& options);
  virtual ~Rebalance() = default;
  Rebalance(const Rebalance&) = delete;

  RebalanceResult run();

 protected:
  enum class Request : uint8_t { kNone, kJoin, kSync, kHeartbeat, kLeave };
  struct Member {
    explicit Member(const std::string& broker) : socket(broker) {}
    Socket socket;
    Buffer frame;
    Request open = Request::kNone;
    int64_t due_ns = INT64_MAX;  // its next heartbeat
    bool in_group = false;
    bool settled = false;  // has an assignment of `epoch`
    int32_t epoch = 0;     // or generation
    std::string id;
    std::vector<int32_t> partitions;
  };

  virtual void join(Member& member) = 0;
  virtual void leave(Member& member) = 0;
  virtual void heartbeat(Member& member) = 0;
  virtual void take(Member& member, Request request, Bytes response) = 0;

  const RebalanceOptions& options() const { return options_; }
  template <class Message>
  void send(Member& member, Request request, const Message& message, int16_t version) {
    member.frame = make_frame(message, version);
    member.open = request;
    member.socket.queue(member.frame);
    member.socket.send();
    ++requests_;
  }
  void left(Member& member);
  // Everybody who has nothing else open heartbeats at that time.
  void all_heartbeat(int64_t at_ns);
  bool starting() const { return starting_; }

 private:
  RebalancePhase measure(size_t members, const std::function<void()>& change);
  void run_until(const std::function<bool()>& done);
  bool agreed(size_t members) const;
  void settle();
  void leave_all();

  const RebalanceOptions options_;
  Poller poller_;
  std::vector<std::unique_ptr<Member>> members_;
  CpuClock cpu_;
  int64_t requests_ = 0;
  bool starting_ = true;
};

}  // namespace millrace::bench
