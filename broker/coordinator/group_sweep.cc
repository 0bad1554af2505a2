// The end of positions: by age, or with their topic. A coordinator may have a million of them, so all groups
// are walked through in turns, between which others are served.
#include <algorithm>
#include <utility>

#include "broker/coordinator/group_coordinator.h"

namespace millrace::coordinator {
namespace {

// A turn ends with this much to write, or after having looked at so much: a millisecond or so.
constexpr size_t kTurnBytes = 64 * 1024;
constexpr size_t kTurnLooks = 20'000;
constexpr size_t kLooksPerGroup = 10;
constexpr int64_t kExpireAgainMs = 10'000;
// Between two turns: all coordinators of a shard, two dozen or so, may be at it.
constexpr int64_t kPauseMs = 50;

}  // namespace

struct GroupCoordinator::SweepTurn {
  int64_t now_ms = 0;
  std::vector<GroupRecord> records = {};
  size_t bytes = 0;
  size_t looks = 0;

  bool over() const { return bytes >= kTurnBytes || looks >= kTurnLooks; }
};

void GroupCoordinator::start_sweep(Sweep sweep, int64_t now_ms) {
  if (groups_.empty()) return;
  sweeps_.push_back(std::move(sweep));
  if (!sweep_timer_.armed())
    sweep_timer_.arm(deadlines_, now_ms, {DeadlineTarget::Kind::kSweep, nullptr, nullptr});
}

// One turn. What its write can't take out stays until the next look at what has expired: a disk that refuses
// it is not asked again at once.
void GroupCoordinator::sweep(int64_t now_ms) {
  if (sweeps_.empty()) return;
  Sweep& sweep = sweeps_.front();
  SweepTurn turn{.now_ms = now_ms};
  auto next = in_order_.lower_bound(sweep.group);
  while (next != in_order_.end() && !turn.over()) {
    const auto start_of = [&](uint64_t group) {
      sweep.group = group;
      sweep.at_topic = sweep.topic;
      sweep.at_partition = INT32_MIN;
      sweep.keeps = false;
    };
    if (sweep.group != next->first) start_of(next->first);
    turn.looks += kLooksPerGroup;
    if (!sweep_group(sweep, *next->second, turn)) break;
    start_of(next->first + 1);
    ++next;
  }
  if (next == in_order_.end()) sweeps_.pop_front();
  if (!turn.records.empty()) write(std::move(turn.records), true, {});
  if (!sweeps_.empty()) {
    sweep_timer_.arm(deadlines_, now_ms + (turn.over() ? kPauseMs : 1),
                     {DeadlineTarget::Kind::kSweep, nullptr, nullptr});
  }
}

// Whether it has come to the end of the group, before that of the turn.
bool GroupCoordinator::sweep_group(Sweep& sweep, const Group& group, SweepTurn& turn) const {
  FormerTopics former(*topics_);
  std::optional<std::string_view> looked_at;
  bool may = false;
  bool paused = false;
  const auto is_gone = [&](std::string_view topic, const CommittedOffset& offset) {
    if (sweep.kind == Sweep::Kind::kDeletedTopic)
      return offset.topic_id.is_zero() || offset.topic_id == sweep.topic_id;
    if (former.had(topic, offset.topic_id)) return true;
    if (sweep.kind == Sweep::Kind::kFormerTopics) return false;
    if (topic != looked_at) may = may_expire(group, topic);
    looked_at = topic;
    return may && expired(group, offset, turn.now_ms);
  };
  const auto look = [&](std::string_view topic, int32_t partition, const CommittedOffset& offset) {
    if (sweep.kind == Sweep::Kind::kDeletedTopic && topic != sweep.topic) return false;
    if (turn.over()) {
      sweep.at_topic = topic;
      sweep.at_partition = partition;
      paused = true;
      return false;
    }
    ++turn.looks;
    if (!is_gone(topic, offset)) {
      sweep.keeps = true;
      return true;
    }
    turn.records.push_back(OffsetCommitRecord{group.id, std::string(topic), partition, std::nullopt});
    turn.bytes += estimated_bytes(turn.records.back());
    return true;
  };
  group.offsets.for_each_from(sweep.at_topic, sweep.at_partition, look);
  if (paused) return false;
  if (sweep.kind == Sweep::Kind::kExpiry && !sweep.keeps && is_unused(group)) {
    const size_t before = turn.records.size();
    erase_group(group, turn.records);
    for (size_t i = before; i < turn.records.size(); ++i) turn.bytes += estimated_bytes(turn.records[i]);
  }
  return true;
}

Effects GroupCoordinator::topic_deleted(std::string_view topic, const Uuid& topic_id, int64_t now_ms) {
  start_sweep({.kind = Sweep::Kind::kDeletedTopic,
               .topic = std::string(topic),
               .topic_id = topic_id,
               .at_topic = std::string(topic)},
              now_ms);
  return take_effects();
}

// There is no room: what can go goes now, but not over and over.
void GroupCoordinator::expire_soon(int64_t now_ms) {
  if (now_ms - last_expiry_ms_ < kExpireAgainMs) return;
  expiry_timer_.arm(deadlines_, now_ms, {DeadlineTarget::Kind::kOffsetExpiry, nullptr, nullptr});
}

void GroupCoordinator::expire_offsets(int64_t now_ms) {
  last_expiry_ms_ = now_ms;
  const auto expires = [](const Sweep& sweep) { return sweep.kind == Sweep::Kind::kExpiry; };
  if (std::ranges::none_of(sweeps_, expires)) start_sweep({.kind = Sweep::Kind::kExpiry}, now_ms);
  expiry_timer_.arm(deadlines_, now_ms + std::max<int64_t>(settings_.offsets_retention_check_interval_ms, 1),
                    {DeadlineTarget::Kind::kOffsetExpiry, nullptr, nullptr});
}

bool GroupCoordinator::expired(const Group& group, const CommittedOffset& offset, int64_t now_ms) const {
  if (offset.expire_timestamp_ms != -1)
    return now_ms >= offset.expire_timestamp_ms;  // as OffsetCommit v2-4 asked
  int64_t base_ms = offset.commit_timestamp_ms;
  // KIP-211: a classic group's positions live as long as it has members, and then offsets.retention.minutes.
  const auto* classic = std::get_if<ClassicGroup>(&group.kind);
  if (classic != nullptr && classic->protocol_type && classic->state == GroupState::kEmpty &&
      classic->state_timestamp_ms != -1) {
    base_ms = classic->state_timestamp_ms;
  }
  return now_ms - base_ms >= settings_.offsets_retention_ms;
}

bool GroupCoordinator::may_expire(const Group& group, std::string_view topic) {
  if (const ConsumerGroup* consumer = group.consumer()) return !consumer->subscribes(topic);
  const auto& classic = std::get<ClassicGroup>(group.kind);
  const bool knows_topics = classic.uses_consumer_protocol() && classic.knows_subscription() &&
                            classic.state == GroupState::kStable;
  return (!classic.protocol_type || classic.state == GroupState::kEmpty || knows_topics) &&
         !classic.subscribes(topic);
}

bool GroupCoordinator::is_unused(const Group& group) {
  if (const ConsumerGroup* consumer = group.consumer()) return consumer->members().empty();
  const auto& classic = std::get<ClassicGroup>(group.kind);
  return classic.state == GroupState::kEmpty && classic.pending.empty();
}

}  // namespace millrace::coordinator
