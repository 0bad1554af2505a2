#include "broker/coordinator/group_coordinator.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "broker/coordinator/member_id.h"

namespace millrace::coordinator {
namespace {

constexpr size_t kKeptEffects = 16;

bool is_too_large(ErrorCode error) {
  return error == ErrorCode::kMessageTooLarge || error == ErrorCode::kRecordListTooLarge ||
         error == ErrorCode::kInvalidFetchSize;
}

// What a failure of the log means to a client of the group.
ErrorCode to_group_error(ErrorCode error, ErrorCode too_large) {
  if (is_too_large(error)) return too_large;
  switch (error) {
    case ErrorCode::kUnknownTopicOrPartition:
    case ErrorCode::kNotEnoughReplicas:
    case ErrorCode::kRequestTimedOut:
      return ErrorCode::kCoordinatorNotAvailable;
    case ErrorCode::kNotLeaderOrFollower:
    case ErrorCode::kKafkaStorageError:
      return ErrorCode::kNotCoordinator;
    default:
      return error;
  }
}

// Turns an answer that promised success into one that says `error`, in the shape that its API has for it.
void set_error(GroupResponse& response, ErrorCode error) {
  if (auto* commit = std::get_if<OffsetCommitResult>(&response)) {
    std::ranges::fill(commit->errors, error);
  } else if (auto* removal = std::get_if<OffsetDeleteResult>(&response)) {
    *removal = {error, {}};
  } else if (auto* deletion = std::get_if<DeleteGroupResult>(&response)) {
    deletion->error = error;
  } else if (auto* fetch = std::get_if<OffsetFetchResult>(&response)) {
    *fetch = {error, {}};
  } else if (auto* heartbeat = std::get_if<ConsumerHeartbeatResult>(&response)) {
    *heartbeat = {.error = {error, {}}};
  } else if (auto* description = std::get_if<DescribeConsumerGroupResult>(&response)) {
    *description = {.error = {error, {}}};
  } else if (auto* join = std::get_if<JoinGroupResult>(&response)) {
    *join = {.error = error, .member = std::move(join->member)};
  } else if (auto* sync = std::get_if<SyncGroupResult>(&response)) {
    *sync = {.error = error};
  } else if (auto* leave = std::get_if<LeaveGroupResult>(&response)) {
    *leave = {error, {}};
  }
}

// A cluster without topics.
class NoTopics final : public TopicDirectory {
 public:
  std::optional<Topic> find(std::string_view) const override { return std::nullopt; }
  std::optional<Topic> find(const Uuid&) const override { return std::nullopt; }
  void for_each(const std::function<void(const Topic&)>&) const override {}
  int64_t version() const override { return 0; }
};

class NoConfigs final : public GroupConfigs {
 public:
  std::optional<metadata::GroupConfig> find(std::string_view) const override { return std::nullopt; }
};

}  // namespace

GroupCoordinator::GroupCoordinator(const GroupSettings& settings, std::function<Uuid()> random_uuid,
                                   std::shared_ptr<GroupMemory> memory)
    : settings_(settings),
      random_uuid_(std::move(random_uuid)),
      memory_(std::move(memory)),
      topics_(std::make_shared<NoTopics>()),
      configs_(std::make_shared<NoConfigs>()) {}

GroupCoordinator::Group* GroupCoordinator::find(std::string_view id) {
  const auto found = groups_.find(id);
  return found == groups_.end() ? nullptr : found->second.get();
}

GroupCoordinator::Group* GroupCoordinator::find(const GroupRef& ref) {
  Group* group = find(std::string_view(ref.id));
  const bool same = group != nullptr && group->number == ref.number && group->changes == ref.changes;
  return same ? group : nullptr;
}

GroupCoordinator::Group& GroupCoordinator::create(std::string_view id, int64_t now_ms) {
  auto group = std::make_unique<Group>(std::string(id), now_ms, *memory_);
  group->number = next_group_++;
  in_order_.emplace(group->number, group.get());
  return *groups_.emplace(group->id, std::move(group)).first->second;
}

void GroupCoordinator::erase(std::string_view id) {
  const auto found = groups_.find(id);
  if (found == groups_.end()) return;
  in_order_.erase(found->second->number);
  groups_.erase(found);
}

void GroupCoordinator::replay(const GroupRecord& record, int64_t offset) { apply(record, offset, -1); }

void GroupCoordinator::apply(const GroupRecord& record, int64_t offset, int64_t now_ms) {
  if (const auto* commit = std::get_if<OffsetCommitRecord>(&record)) {
    Group* group = find(commit->group);
    if (!commit->value) {
      if (group != nullptr) group->offsets.erase(commit->topic, commit->partition);
    } else {
      if (group == nullptr) group = &create(commit->group, now_ms);
      group->offsets.put(commit->topic, commit->partition, *commit->value);
    }
    if (group == nullptr) return;
    group->last_offset = offset;
    group->count();
    return;
  }
  const auto* stored = std::get_if<GroupMetadataRecord>(&record);
  if (stored == nullptr) return apply_to_consumer_group(record, offset, now_ms);
  Group* group = find(stored->group);
  if (stored->value) {
    if (group == nullptr) group = &create(stored->group, now_ms);
    group->become<ClassicGroup>(*stored->value);
  } else if (group != nullptr && group->classic() != nullptr) {
    if (group->offsets.empty()) {
      erase(stored->group);
    } else {
      group->become<ClassicGroup>(now_ms);
    }
  }
}

void GroupCoordinator::apply(const CommittedPositions& commit, int64_t last_offset, int64_t now_ms) {
  Group* group = find(std::string_view(commit.group));
  if (group == nullptr) group = &create(commit.group, now_ms);
  group->offsets.put(commit);
  group->last_offset = last_offset;
  group->count();
}

Effects GroupCoordinator::loaded(int64_t end_offset, int64_t now_ms) {
  committed_end_ = end_offset;
  for (const auto& [id, group] : groups_) load(*group, now_ms);
  expiry_timer_.arm(deadlines_, now_ms + settings_.offsets_retention_check_interval_ms,
                    {DeadlineTarget::Kind::kOffsetExpiry, nullptr, nullptr});
  // Whoever deleted a topic may have ended before its positions were out.
  start_sweep({.kind = Sweep::Kind::kFormerTopics}, now_ms);
  return take_effects();
}

void GroupCoordinator::load(Group& group, int64_t now_ms) {
  group.offsets.shrink();
  if (ConsumerGroup* consumer = group.consumer()) {
    consumer->drop_undescribed();
    for (const auto& [id, member] : consumer->members()) {
      start_session(group, *member, now_ms);
      watch_revocation(group, *member, now_ms);
    }
    return;
  }
  auto& classic = std::get<ClassicGroup>(group.kind);
  for (const auto& [id, member] : classic.members()) {
    start_session(group, *member, member->session_timeout_ms, now_ms);
  }
  // group.max.size may have been lowered: give its members the chance to commit before some are turned away.
  if (classic.members().size() > static_cast<size_t>(settings_.max_size)) prepare_rebalance(group, now_ms);
}

Effects GroupCoordinator::handle(uint64_t ticket, const GroupRequest& request, int64_t now_ms) {
  std::visit([&](const auto& typed) { handle_request(ticket, typed, now_ms); }, request);
  return take_effects();
}

Effects GroupCoordinator::expire(int64_t now_ms) {
  // One write at a time: what it changes may change what the next deadline means.
  while (effects_.writes.empty()) {
    const auto due = deadlines_.pop_due(now_ms);
    if (!due) break;
    fire(*due, now_ms);
  }
  return take_effects();
}

void GroupCoordinator::fire(const DeadlineTarget& due, int64_t now_ms) {
  auto* group = static_cast<Group*>(due.group);
  switch (due.kind) {
    case DeadlineTarget::Kind::kSession:
      return expire_session(*group, *static_cast<ClassicMember*>(due.member), now_ms);
    case DeadlineTarget::Kind::kPendingMember:
      return expire_pending(*group, static_cast<PendingMember*>(due.member)->id, now_ms);
    case DeadlineTarget::Kind::kJoin:
      return end_initial_delay(*group, now_ms);
    case DeadlineTarget::Kind::kSync:
      return expire_sync(*group, now_ms);
    case DeadlineTarget::Kind::kOffsetExpiry:
      return expire_offsets(now_ms);
    case DeadlineTarget::Kind::kSweep:
      return sweep(now_ms);
    case DeadlineTarget::Kind::kConsumerSession:
    case DeadlineTarget::Kind::kConsumerRevocation:
    case DeadlineTarget::Kind::kConsumerJoin:
    case DeadlineTarget::Kind::kConsumerSync:
      return fire_consumer(due, now_ms);
  }
}

void GroupCoordinator::take_back(Effects done) {
  const auto take = [](auto& from, auto& to) {
    if (to.capacity() > 0 || from.capacity() > kKeptEffects) return;
    from.clear();
    to = std::move(from);
  };
  take(done.writes, effects_.writes);
  take(done.answers, effects_.answers);
}

void GroupCoordinator::answer(uint64_t ticket, GroupResponse response) {
  effects_.answers.push_back({ticket, std::move(response)});
}

void GroupCoordinator::answer_when_stored(const Group* group, uint64_t ticket, GroupResponse response) {
  const int64_t last_offset = group == nullptr ? -1 : group->last_offset;
  if (last_offset < committed_end_) return answer(ticket, std::move(response));
  uncommitted_.emplace(last_offset, SendAnswer{ticket, std::move(response)});
}

void GroupCoordinator::write(std::vector<GroupRecord> records, bool apply, Continuation then) {
  const int64_t id = next_write_++;
  unappended_.emplace(id, std::move(then));
  effects_.writes.push_back({.id = id, .records = std::move(records), .apply = apply});
}

void GroupCoordinator::write(CommittedPositions commit, SendAnswer then) {
  const int64_t id = next_write_++;
  unappended_.emplace(id, std::move(then));
  effects_.writes.push_back({.id = id, .records = {}, .commit = std::move(commit)});
}

void GroupCoordinator::write_group(Group& group, Continuation then) {
  std::vector<GroupRecord> records;
  records.push_back(GroupMetadataRecord{group.id, std::get<ClassicGroup>(group.kind).stored()});
  write(std::move(records), false, std::move(then));
}

void GroupCoordinator::appended(Write write, int64_t base_offset, int64_t now_ms) {
  const int64_t end_offset = base_offset + static_cast<int64_t>(write.record_count());
  if (write.commit) {
    apply(*write.commit, end_offset - 1, now_ms);
  } else {
    ask_to_rejoin(write, end_offset);
    int64_t offset = base_offset;
    for (const GroupRecord& record : write.records) {
      if (write.apply) apply(record, offset, now_ms);
      ++offset;
    }
  }
  auto found = unappended_.extract(write.id);
  assert(!found.empty());
  if (std::holds_alternative<std::monostate>(found.mapped())) return;
  if (auto* then = std::get_if<GroupDowngraded>(&found.mapped())) downgraded(*then, now_ms);
  // The same node, by another number: what was the write's is the offset's now.
  found.key() = end_offset - 1;
  uncommitted_.insert(std::move(found));
}

Effects GroupCoordinator::committed(int64_t end_offset, int64_t now_ms) {
  committed_end_ = std::max(committed_end_, end_offset);
  while (!uncommitted_.empty() && uncommitted_.begin()->first < committed_end_) {
    auto node = uncommitted_.extract(uncommitted_.begin());
    resume(node.mapped(), now_ms);
  }
  return take_effects();
}

void GroupCoordinator::resume(Continuation& then, int64_t now_ms) {
  if (auto* send = std::get_if<SendAnswer>(&then)) {
    answer(send->ticket, std::move(send->response));
  } else if (auto* stored = std::get_if<AssignmentStored>(&then)) {
    assignment_stored(*stored, now_ms);
  } else if (auto* replaced = std::get_if<StaticMemberReplaced>(&then)) {
    static_member_stored(*replaced, now_ms);
  } else if (auto* joined = std::get_if<ClassicMemberJoined>(&then)) {
    classic_member_joined(*joined, now_ms);
  } else if (auto* downgrade = std::get_if<GroupDowngraded>(&then)) {
    if (downgrade->answer) answer(downgrade->answer->ticket, std::move(downgrade->answer->response));
  }
}

Effects GroupCoordinator::failed(const Write& write, ErrorCode error, int64_t now_ms) {
  auto found = unappended_.extract(write.id);
  assert(!found.empty());
  Continuation& then = found.mapped();
  // What it has learnt of the topics is lost with it.
  Group* of = find(std::string_view(write.group()));
  if (ConsumerGroup* consumer = of == nullptr ? nullptr : of->consumer()) consumer->set_stale(true);
  const ErrorCode group_error = to_group_error(error, ErrorCode::kUnknownServerError);
  if (auto* downgrade = std::get_if<GroupDowngraded>(&then);
      downgrade != nullptr && is_too_large(error) && stay_consumer_group(*downgrade, now_ms)) {
    return take_effects();
  }
  if (SendAnswer* send = answer_in(then)) {
    const bool commit = std::holds_alternative<OffsetCommitResult>(send->response);
    set_error(send->response,
              commit ? to_group_error(error, ErrorCode::kInvalidCommitOffsetSize) : group_error);
    answer(send->ticket, std::move(send->response));
  } else if (auto* part = std::get_if<PartOfRemoval>(&then)) {
    const auto last = unappended_.find(part->last_write);
    SendAnswer* send = last == unappended_.end() ? nullptr : answer_in(last->second);
    if (send != nullptr) set_error(send->response, group_error);
  } else if (auto* created = std::get_if<GroupCreated>(&then)) {
    Group* group = find(created->group);
    if (group != nullptr && group->classic() != nullptr) {
      auto& classic = *group->classic();
      for (const auto& [id, member] : classic.members())
        answer_join(classic, *member, {.error = group_error});
      created->former ? static_cast<void>(group->become<ConsumerGroup>(std::move(*created->former)))
                      : erase(created->group);
    }
  } else if (auto* stored = std::get_if<AssignmentStored>(&then)) {
    assignment_failed(*stored, group_error, now_ms);
  } else if (auto* replaced = std::get_if<StaticMemberReplaced>(&then)) {
    static_member_failed(*replaced, group_error, now_ms);
  }
  return take_effects();
}

// Whether there is memory for this much more of members and what they sent. Group: null if it isn't there
// yet. What is refused with COORDINATOR_NOT_AVAILABLE may come again: whoever vanished is forgotten when its
// session ends.
ErrorCode GroupCoordinator::check_room(const Group* group, std::string_view id, int64_t more,
                                       int64_t now_ms) {
  if (more <= 0) return ErrorCode::kNone;
  const int64_t held = group == nullptr ? 0 : group->held.bytes();
  if (held + more > settings_.max_group_bytes) {
    effects_.warning = fmt::format(
        "Group {} has no room for {} bytes more: what its members sent and were assigned takes {} of at most "
        "{} MiB of memory. They are refused with GROUP_MAX_SIZE_REACHED. Have them subscribe to fewer topics "
        "and send less user data, or make several groups of it",
        loggable(id), more, mib(held), mib(settings_.max_group_bytes));
    return ErrorCode::kGroupMaxSizeReached;
  }
  if (group == nullptr) more += Group::bytes_of(id);
  // Nobody takes more than a quarter of what is left, so that the usual, small members still find room where
  // large ones no longer do.
  if (more <= (settings_.max_members_bytes - memory_->members.bytes()) / 4) return ErrorCode::kNone;
  expire_soon(now_ms);
  effects_.warning = fmt::format(
      "Group {} has no room for {} bytes more for now: what the members of all groups of this shard sent and "
      "were assigned takes {} of at most {} MiB of memory. They are told to try again "
      "(COORDINATOR_NOT_AVAILABLE). Find who joins with very long subscriptions, assignments or ids, reads "
      "very many partitions, or leaves empty groups behind (millrace group list)",
      loggable(id), more, mib(memory_->members.bytes()), mib(settings_.max_members_bytes));
  return ErrorCode::kCoordinatorNotAvailable;
}

Effects GroupCoordinator::unload(ErrorCode error) {
  for (const auto& [id, group] : groups_) {
    ClassicGroup* classic = group->classic();
    if (classic == nullptr) continue;
    for (const auto& [member_id, member] : classic->members()) {
      answer_join(*classic, *member, {.error = error, .member = member_id});
      answer_sync(*member, {.error = error});
    }
  }
  const auto drop = [&](Continuation& then) {
    SendAnswer* send = answer_in(then);
    if (send == nullptr) return;
    set_error(send->response, error);
    answer(send->ticket, std::move(send->response));
  };
  for (auto& [id, then] : unappended_) drop(then);
  for (auto& [offset, then] : uncommitted_) drop(then);
  unappended_.clear();
  uncommitted_.clear();
  in_order_.clear();
  groups_.clear();
  sweeps_.clear();
  expiry_timer_.cancel();
  sweep_timer_.cancel();
  return take_effects();
}

size_t GroupCoordinator::open_tickets() const {
  size_t open = 0;
  for_each_group([&](const std::string&, const GroupOffsets&, const ClassicGroup& group) {
    for (const auto& [id, member] : group.members()) {
      open += member->join_ticket.has_value();
      open += member->sync_ticket.has_value();
    }
  });
  for (const auto& [id, then] : unappended_) open += answer_in(then) != nullptr;
  for (const auto& [offset, then] : uncommitted_) open += answer_in(then) != nullptr;
  return open;
}

}  // namespace millrace::coordinator
