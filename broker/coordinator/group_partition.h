// The group coordinator of one partition of __consumer_offsets at work: the state machine
// (group_coordinator.h) with its log, a clock, and the requests that wait for answers. Lives on the
// partition's shard.
#pragma once

#include <boost/intrusive/set.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/coordinator/coordinator_log.h"
#include "broker/coordinator/group_coordinator.h"
#include "broker/runtime/notifier.h"
#include "broker/runtime/shard.h"
#include "broker/runtime/task.h"

namespace millrace::coordinator {

class GroupPartition : public std::enable_shared_from_this<GroupPartition> {
 public:
  GroupPartition(runtime::Shard& shard, std::string name, const GroupSettings& settings,
                 std::unique_ptr<CoordinatorLog> log,
                 std::shared_ptr<GroupMemory> memory = std::make_shared<GroupMemory>());

  // Reads the log, then coordinates until stop() or until the log fails. Once, on the shard; keeps the object
  // alive.
  void start();
  // Answers everything open with `error` and ends. Later requests are answered NOT_COORDINATOR.
  void stop(ErrorCode error = ErrorCode::kNotCoordinator);
  // Returns when nothing of it runs any more. After stop().
  runtime::Task<> ended();

  // Answers when the state machine does. COORDINATOR_LOAD_IN_PROGRESS while the log is read (but a heartbeat
  // is answered well: the member is probably still in), NOT_COORDINATOR when stopped,
  // COORDINATOR_NOT_AVAILABLE when the log could not be read. `request` outlives the task, or, where `begun`
  // is given, that call of it, which comes before the answer is waited for. A task that is cancelled leaves
  // the request's effects behind.
  runtime::Task<GroupResponse> handle(const GroupRequest& request, std::function<void()> begun = {});
  // The same for several at once, which are appended before the first is waited for. In their order.
  runtime::Task<std::vector<GroupResponse>> handle_all(const std::vector<const GroupRequest*>& requests);

  // The topics of the cluster from now on; see GroupCoordinator::topics_changed.
  void topics_changed(TopicDirectoryPtr topics, const std::optional<std::vector<std::string_view>>& changed) {
    append_held();
    machine_.topics_changed(std::move(topics), changed);
  }
  // What groups have configured of their own, from now on.
  void configs_changed(GroupConfigsPtr configs) { machine_.configs_changed(std::move(configs)); }
  // A topic was deleted: its positions go.
  void topic_deleted(std::string_view topic, const Uuid& topic_id);

  bool loaded() const { return state_ == State::kActive; }
  // The state machine, to be looked at; null unless loaded. Until the caller suspends.
  const GroupCoordinator* machine() const { return loaded() ? &machine_ : nullptr; }

 private:
  enum class State : uint8_t { kLoading, kActive, kStopped, kFailed };
  // Each is larger than those before, so that a new one goes to the end.
  struct Ticket : boost::intrusive::set_base_hook<> {
    explicit Ticket(uint64_t the_number) : number(the_number) {}
    const uint64_t number;
  };
  struct NumberOfTicket {
    using type = uint64_t;
    type operator()(const Ticket& ticket) const { return ticket.number; }
  };
  using Tickets = boost::intrusive::set<Ticket, boost::intrusive::key_of_value<NumberOfTicket>,
                                        boost::intrusive::constant_time_size<false>>;
  struct Waiter;

  // The answer to what can't be handed to the state machine now; nothing if it can.
  std::optional<GroupResponse> refusal(const GroupRequest& request) const;
  void begin(Waiter& waiter, const GroupRequest& request);
  runtime::Task<> run();
  runtime::Task<Result<>> load();
  runtime::Task<> commit_loop();
  runtime::Task<> deadline_loop();
  void process(Effects effects);
  void process_commit(Effects effects);
  void append_held();
  void append(std::span<Write> writes);
  Result<MutableBytes> batch_of(std::span<const Write> writes, int64_t now_ms, int64_t wall_ms) const;
  void fail_log(const Error& error);
  // The wall clock's time at the start, and what has passed since: it never goes back.
  int64_t now_ms() const;
  int64_t deadline_ns(int64_t deadline_ms) const;

  runtime::Shard& shard_;
  const std::string name_;
  std::unique_ptr<CoordinatorLog> log_;
  // The wall clock when this began; from then on it goes at the pace of the monotonic one, so that no jump of
  // the wall clock ends sessions.
  const int64_t start_ms_;
  const int64_t start_ns_;
  GroupCoordinator machine_;
  State state_ = State::kLoading;
  uint64_t next_ticket_ = 1;
  Tickets waiting_;  // each a Waiter; ordered, so that one is found by its number without memory of its own
  // Of commits that came while the log was being synced, or in the same turn of the shard: one batch is as
  // dear for all as for one. Appended before the state machine sees anything but another commit.
  std::vector<Write> held_;
  std::vector<Write> spare_;  // empty: memory for the next ones
  size_t held_bytes_ = 0;
  int64_t appended_end_ = 0;
  int64_t committed_end_ = 0;
  int64_t armed_deadline_ms_ = 0;  // what the deadline loop sleeps until
  int running_ = 0;
  runtime::Notifier appended_;
  runtime::Notifier deadline_changed_;
  runtime::Notifier ended_;
};

}  // namespace millrace::coordinator
