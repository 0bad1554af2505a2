// What the random histories of a coordinator have in common: its log, which fails or commits late; time and
// deadlines; a broker that stops or loses what was not committed; requests that are open and answers on their
// way. Who asks for what, and what must hold, is the deriving class's (group_history.h, consumer_history.h).
#pragma once

#include <algorithm>
#include <deque>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "broker/coordinator/group_coordinator.h"
#include "tests/broker/coordinator/records_of.h"

namespace millrace::coordinator {

// Something that no history may show.
struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What a deriving class knows of a request that waits for its answer begins with this.
struct OpenRequest {
  size_t client = 0;
  int64_t sent_ms = 0;
  int64_t bound_ms = 0;  // from then until the answer, at most
  size_t kind = 0;       // of the request
};

// Open: an OpenRequest and more.
template <class Open>
class History {
 public:
  History(const History&) = delete;
  virtual ~History() = default;

  // Everything follows from the seed. Throws Violation.
  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      step();
      check();
    }
    settle();
  }
  int64_t requests() const { return static_cast<int64_t>(tickets_); }

 protected:
  // What the coordinator seems to do wrong.
  struct Wrongs {
    bool early_answers = false;   // before they are committed
    bool lost_answers = false;    // now and then one is never given
    bool double_answers = false;  // or given twice
    bool no_deadlines = false;    // these are not met
  };
  // How often what happens, in per cent of the steps.
  struct Pace {
    int advance = 0;
    int far = 0;  // of those
    size_t far_ms = 0;
    int durable = 0;
  };

  History(uint64_t seed, const GroupSettings& settings, Wrongs wrongs)
      : random_(seed), settings_(settings), wrongs_(wrongs) {}

  virtual void step() = 0;
  virtual void check() = 0;
  virtual void settle() = 0;
  virtual void receive(Answer& answer, const Open& open) = 0;
  // A coordinator that is about to read its log.
  virtual void prepare(GroupCoordinator&) {}
  virtual void before_append(const Write&) {}
  // The write's records are the last of the log; they may be spoilt there.
  virtual void logged(const Write&) {}
  virtual void crashed() {}

  bool chance(int percent) { return static_cast<int>(random_() % 100) < percent; }
  size_t below(size_t bound) { return random_() % bound; }

  void start() {
    machine_ = std::make_unique<GroupCoordinator>(
        settings_, [this] { return Uuid::from_random(random_(), random_()); }, memory_);
    prepare(*machine_);
    for (size_t i = 0; i < log_.size(); ++i) machine_->replay(log_[i], static_cast<int64_t>(i));
    durable_ = log_.size();
    take(machine_->loaded(static_cast<int64_t>(log_.size()), now_ms_));
  }

  // Time passes, and the log and the broker do what they do. Whether the step is over with that.
  bool trouble(const Pace& pace) {
    if (chance(pace.advance)) advance(static_cast<int64_t>(below(chance(pace.far) ? pace.far_ms : kNearMs)));
    if (chance(pace.durable)) make_durable();
    if (chance(2)) append_error_ = ErrorCode::kNotEnoughReplicas;
    if (chance(50)) append_error_.reset();
    if (!chance(1)) return false;
    crash(chance(50));
    return true;
  }

  uint64_t open_ticket(size_t client, const GroupRequest& request, Open open) {
    open.client = client;
    open.sent_ms = now_ms_;
    open.kind = request.index();
    open_.emplace(++tickets_, std::move(open));
    return tickets_;
  }
  void send(uint64_t ticket, const GroupRequest& request) {
    const bool is_commit = std::holds_alternative<OffsetCommit>(request);
    if (!is_commit) append_held();
    Effects effects = machine_->handle(ticket, request, now_ms_);
    if (is_commit) std::ranges::move(std::exchange(effects.writes, {}), std::back_inserter(held_));
    take(std::move(effects));
    if (!held_.empty() && chance(50)) append_held();
    deliver();
  }
  // Of commits. Before anything else is asked of the coordinator.
  void append_held() {
    Effects effects;
    effects.writes = std::exchange(held_, {});
    take(std::move(effects));
  }

  void make_durable() {
    append_held();
    durable_ = log_.size();
    take(machine_->committed(static_cast<int64_t>(durable_), now_ms_));
    deliver();
  }

  void advance(int64_t by_ms) {
    const int64_t until = now_ms_ + by_ms;
    while (!wrongs_.no_deadlines) {
      const auto deadline = machine_->next_deadline();
      if (!deadline || *deadline > until) break;
      now_ms_ = std::max(now_ms_, *deadline);
      append_held();
      take(machine_->expire(now_ms_));
      deliver();
    }
    now_ms_ = until;
  }

  // Clients act on their answers, which may make more.
  void deliver() {
    if (std::exchange(delivering_, true)) return;
    while (!inbox_.empty()) {
      Answer answer = std::move(inbox_.front());
      inbox_.pop_front();
      auto found = open_.extract(answer.ticket);
      if (found.empty()) throw Violation("a request is answered twice");
      receive(answer, found.mapped());
    }
    delivering_ = false;
  }

  void check_open() const {
    for (const auto& [ticket, open] : open_) {
      if (now_ms_ - open.sent_ms > open.bound_ms)
        throw Violation("a request of kind " + std::to_string(open.kind) + " is not answered in time");
    }
    check_memory();
    if (machine_->open_tickets() != open_.size()) throw Violation("open requests differ from open tickets");
  }
  // What groups hold is counted as it is.
  void check_memory() const {
    int64_t held = 0;
    machine_->for_each_group([&](const std::string&, const GroupOffsets&, const ClassicGroup& group) {
      held += group.held.bytes();
      for (const auto& [id, member] : group.members()) {
        if (member->held.bytes() != member->bytes()) throw Violation("a classic member is counted wrong");
      }
    });
    machine_->for_each_consumer_group(
        [&](const std::string&, const GroupOffsets&, const ConsumerGroup& group) {
          int64_t bytes = 0;
          for (const auto& [id, member] : group.members()) bytes += bytes_of(*member);
          for (const auto& [regex, resolved] : group.regexes()) bytes += bytes_of(regex, resolved);
          if (bytes != group.held.bytes()) throw Violation("a consumer group is counted wrong");
          held += bytes;
        });
    if (memory_->members.bytes() < held) throw Violation("members are counted as less than they are");
    if (machine_->group_count() == 0 && (memory_->members.bytes() != 0 || memory_->positions.bytes() != 0))
      throw Violation("memory is counted that nobody holds");
  }
  // Once nothing fails any more.
  void check_nothing_open() {
    make_durable();
    if (!open_.empty()) throw Violation("a request is never answered");
  }

  GroupCoordinator& machine() const { return *machine_; }
  bool started() const { return machine_ != nullptr; }
  std::vector<GroupRecord>& log() { return log_; }
  bool append_fails() const { return append_error_.has_value(); }
  void mend() { append_error_.reset(); }
  uint64_t random() { return random_(); }

 private:
  static constexpr size_t kNearMs = 3'000;

  void take(Effects effects) {
    for (Answer& answer : effects.answers) {
      if (wrongs_.lost_answers && chance(1)) continue;
      if (wrongs_.double_answers && chance(1)) inbox_.push_back({answer.ticket, answer.response});
      inbox_.push_back(std::move(answer));
    }
    for (Write& write : effects.writes) {
      before_append(write);
      if (append_error_) {
        take(machine_->failed(write, *append_error_, now_ms_));
        continue;
      }
      const auto base = static_cast<int64_t>(log_.size());
      std::ranges::move(records_of(write), std::back_inserter(log_));
      logged(write);
      machine_->appended(std::move(write), base, now_ms_);
      if (wrongs_.early_answers) take(machine_->committed(static_cast<int64_t>(log_.size()), now_ms_));
    }
  }

  void crash(bool loses) {
    if (!loses) make_durable();
    take(machine_->unload(ErrorCode::kNotCoordinator));
    held_.clear();
    deliver();
    if (machine_->open_tickets() != 0) throw Violation("something is open after unload");
    log_.resize(durable_);
    crashed();
    start();
  }

  std::mt19937_64 random_;
  const GroupSettings settings_;
  const Wrongs wrongs_;
  int64_t now_ms_ = 1'000'000;
  const std::shared_ptr<GroupMemory> memory_ = std::make_shared<GroupMemory>();
  std::unique_ptr<GroupCoordinator> machine_;
  std::vector<GroupRecord> log_;
  std::vector<Write> held_;
  size_t durable_ = 0;
  std::optional<ErrorCode> append_error_;
  uint64_t tickets_ = 0;
  std::map<uint64_t, Open> open_;
  std::deque<Answer> inbox_;
  bool delivering_ = false;
};

}  // namespace millrace::coordinator
