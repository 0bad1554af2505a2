#include "tests/bench/rebalance.h"

#include <algorithm>
#include <utility>

#include "tests/bench/coordinators.h"

namespace millrace::bench {
namespace {

constexpr int64_t kTimeout_ns = 120'000'000'000;

}  // namespace

Rebalance::Rebalance(const RebalanceOptions& options) : options_(options), cpu_(options.server_pid) {
  for (size_t i = 0; i < options.members; ++i) {
    members_.push_back(std::make_unique<Member>(options.broker));
    poller_.add(members_.back()->socket, i);
  }
}

void Rebalance::left(Member& member) {
  member.in_group = member.settled = false;
  member.id.clear();
  member.epoch = 0;
  member.partitions.clear();
  member.due_ns = INT64_MAX;
}

void Rebalance::all_heartbeat(int64_t at_ns) {
  for (const auto& member : members_) {
    if (member->in_group && member->open == Request::kNone) member->due_ns = at_ns;
  }
}

// All of them in the same generation, every partition with one of them, and nobody with more than a fair
// share: until a coordinator gets to making the next assignment, it may give a newcomer a part of the last.
bool Rebalance::agreed(size_t members) const {
  const size_t least = static_cast<size_t>(options_.partitions) / members;
  size_t in_group = 0;
  size_t assigned = 0;
  int32_t epoch = -1;
  for (const auto& member : members_) {
    if (!member->in_group) continue;
    if (!member->settled || (epoch != -1 && member->epoch != epoch)) return false;
    epoch = member->epoch;
    ++in_group;
    if (member->partitions.size() < least) return false;
    assigned += member->partitions.size();
  }
  if (in_group != members || assigned != static_cast<size_t>(options_.partitions)) return false;
  std::vector<bool> taken(assigned);
  for (const auto& member : members_) {
    for (const int32_t partition : member->partitions) {
      if (taken[static_cast<size_t>(partition)]) throw std::runtime_error("a partition has two owners");
      taken[static_cast<size_t>(partition)] = true;
    }
  }
  return true;
}

void Rebalance::run_until(const std::function<bool()>& done) {
  const int64_t deadline_ns = now_ns() + kTimeout_ns;
  while (!done()) {
    int64_t next_ns = deadline_ns;
    for (const auto& member : members_) {
      if (member->open == Request::kNone && member->due_ns <= now_ns()) {
        member->due_ns = INT64_MAX;
        heartbeat(*member);
      }
      next_ns = std::min(next_ns, member->due_ns);
    }
    if (now_ns() > deadline_ns) throw std::runtime_error("the group doesn't come to rest");
    poller_.wait(next_ns - now_ns(), [this](size_t i) {
      Member& member = *members_[i];
      member.socket.receive(
          [&](Bytes response) { take(member, std::exchange(member.open, Request::kNone), response); });
      member.socket.send();
    });
  }
}

RebalancePhase Rebalance::measure(size_t members, const std::function<void()>& change) {
  cpu_.lap();
  requests_ = 0;
  const int64_t begun_ns = now_ns();
  change();
  run_until([&] { return agreed(members); });
  RebalancePhase phase;
  phase.ms = static_cast<double>(now_ns() - begun_ns) / 1e6;
  const CpuTime used = cpu_.lap();
  phase.cpu_s = used.user_s + used.system_s;
  phase.requests = requests_;
  return phase;
}

// Until nobody's request is open.
void Rebalance::settle() {
  run_until([this] {
    return std::ranges::all_of(members_, [](const auto& member) { return member->open == Request::kNone; });
  });
}

void Rebalance::leave_all() {
  settle();
  for (const auto& member : members_) {
    member->due_ns = INT64_MAX;
    if (member->in_group) leave(*member);
  }
  run_until(
      [this] { return std::ranges::none_of(members_, [](const auto& member) { return member->in_group; }); });
}

RebalanceResult Rebalance::run() {
  await_coordinators(options_.broker, {&options_.group, 1});
  RebalanceResult result;
  result.first = measure(members_.size(), [this] {
    for (const auto& member : members_) join(*member);
  });
  starting_ = false;
  Member& one = *members_[members_.size() / 2];
  settle();
  one.due_ns = INT64_MAX;
  result.leave = measure(members_.size() - 1, [&] { leave(one); });
  settle();
  result.join = measure(members_.size(), [&] { join(one); });
  leave_all();
  return result;
}

}  // namespace millrace::bench
