#include "tools/client/group_reader.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <utility>

#include "tools/client/offsets.h"

namespace millrace::tools {
namespace {

constexpr int64_t kCommitEveryMs = 1'000;
// Other members may take this long to give partitions up.
constexpr int64_t kPatienceMs = 15'000;

// The topic was deleted; there may be a new one of the same name.
bool is_gone(ErrorCode code) {
  return code == ErrorCode::kUnknownTopicOrPartition || code == ErrorCode::kUnknownTopicId;
}

}  // namespace

GroupReader::GroupReader(Cluster& cluster, std::unique_ptr<Cluster> own, TopicInfo topic,
                         GroupReaderOptions options, OnNote on_note)
    : cluster_(cluster),
      own_(std::move(own)),
      topic_(std::move(topic)),
      options_(std::move(options)),
      on_note_(std::move(on_note)),
      membership_(*own_, options_.group, topic_, options_.instance),
      consumer_(cluster, topic_, options_.fetch, {}, on_note_),
      next_commit_(Deadline::after_ms(kCommitEveryMs)),
      patience_(Deadline::after_ms(kPatienceMs)) {}

Result<std::unique_ptr<GroupReader>> GroupReader::join(Cluster& cluster, const TopicInfo& topic,
                                                       GroupReaderOptions options, OnNote on_note) {
  Result<std::unique_ptr<Cluster>> own = Cluster::connect(cluster.options());
  if (!own) return std::unexpected(own.error());
  std::unique_ptr<GroupReader> reader(
      new GroupReader(cluster, std::move(*own), topic, std::move(options), std::move(on_note)));
  if (Result<void> joined = reader->beat(); !joined) return std::unexpected(joined.error());
  return reader;
}

Result<const ConsumedRecord*> GroupReader::next(int64_t wait_ms) {
  // Nothing to read at the moment isn't the end.
  if (consumer_.finished() && !finished()) {
    poll(nullptr, 0, static_cast<int>(wait_ms));
    return nullptr;
  }
  Result<const ConsumedRecord*> record = consumer_.next(wait_ms);
  if (record || !options_.follow || !is_gone(record.error().code)) return record;
  // The coordinator hears of it, too, takes the partitions back, and assigns those of a new one.
  lose_all();
  membership_.hurry();
  if (const Result<void> noted = note_if_deleted(); !noted) return std::unexpected(noted.error());
  return nullptr;
}

bool GroupReader::finished() const {
  if (options_.follow || !consumer_.finished()) return false;
  return ever_owned_ || patience_.passed();
}

Result<void> GroupReader::done_with_all() {
  for (const int32_t partition : owned_) done_[partition] = consumer_.position(partition);
  lost_.clear();
  const Result<std::vector<int32_t>> lost = keep_up();
  return lost ? Result<void>{} : std::unexpected(lost.error());
}

std::optional<int64_t> GroupReader::due_in_ms() const {
  return std::min(membership_.due_in_ms(), next_commit_.left_ms());
}

Result<std::vector<int32_t>> GroupReader::keep_up() {
  // First: who was silent for too long is to commit nothing more.
  if (membership_.due()) {
    if (const Result<void> sent = beat(); !sent) return std::unexpected(sent.error());
  }
  if (next_commit_.passed()) {
    if (const Result<void> committed = commit(); !committed) return std::unexpected(committed.error());
  }
  return std::exchange(lost_, {});
}

void GroupReader::done_with(int32_t partition, int64_t next_offset) {
  if (owned_.contains(partition)) done_[partition] = next_offset;
}

Result<void> GroupReader::leave(int64_t within_ms) {
  const Deadline deadline = Deadline::after_ms(within_ms);
  const auto hurry = [&] { own_->set_timeout_ms(std::min(own_->options().timeout_ms, deadline.left_ms())); };
  hurry();
  if (!options_.follow && !ever_owned_ && patience_.passed()) {
    on_note_(
        fmt::format("{}: no partition was left for this member of group \"{}\", so nothing was read here; "
                    "-f waits for some",
                    topic_.name, options_.group));
  }
  const Result<void> committed = commit();
  hurry();
  const Result<void> left = membership_.leave();
  owned_.clear();
  if (!committed) return committed;
  // Then there is nothing to leave.
  const bool was_lost =
      !left && (is_lost(left.error().code) || left.error().code == ErrorCode::kGroupIdNotFound);
  return was_lost ? Result<void>{} : left;
}

bool GroupReader::is_lost(ErrorCode code) const {
  // It was deleted, or is one by the classic protocol by now.
  if (code == ErrorCode::kGroupIdNotFound) return membership_.has_joined();
  return code == ErrorCode::kFencedMemberEpoch || code == ErrorCode::kUnknownMemberId ||
         code == ErrorCode::kIllegalGeneration;
}

Result<void> GroupReader::commit() {
  next_commit_ = Deadline::after_ms(kCommitEveryMs);
  std::map<TopicPartition, int64_t> offsets;
  for (const auto& [partition, offset] : done_) {
    const auto known = committed_.find(partition);
    if (known == committed_.end() || known->second != offset) offsets[{topic_.name, partition}] = offset;
  }
  if (offsets.empty()) return {};
  Result<void> committed = commit_offsets(*own_, options_.group, membership_.committer(), offsets);
  if (!committed && committed.error().code == ErrorCode::kStaleMemberEpoch) {
    // The epoch has moved on since the last heartbeat; the partitions may still be ours.
    if (const Result<void> sent = membership_.heartbeat(owned_); sent) {
      committed = commit_offsets(*own_, options_.group, membership_.committer(), offsets);
    } else {
      committed = sent;
    }
    membership_.hurry();
  }
  // The next heartbeat finds that out, and says so.
  if (!committed && is_lost(committed.error().code)) {
    membership_.hurry();
    return {};
  }
  // Nobody goes on there.
  if (!committed && options_.follow && is_gone(committed.error().code)) return {};
  if (!committed) {
    return fail(committed.error().code,
                fmt::format("committing for group \"{}\": {}", options_.group, committed.error().message));
  }
  for (const auto& [place, offset] : offsets) committed_[place.partition] = offset;
  return {};
}

void GroupReader::lose(int32_t partition) {
  consumer_.remove(partition);
  owned_.erase(partition);
  done_.erase(partition);
  committed_.erase(partition);
  lost_.push_back(partition);
}

void GroupReader::lose_all() {
  while (!owned_.empty()) lose(*owned_.begin());
}

Result<void> GroupReader::beat() {
  Result<void> sent = membership_.heartbeat(owned_);
  if (!sent && is_lost(sent.error().code)) {
    on_note_(
        fmt::format("group \"{}\" went on without this member, which wasn't heard from for too long ({}); "
                    "joining again, some records may come twice",
                    options_.group, error_name(sent.error().code)));
    lose_all();
    membership_.forget();
    sent = membership_.heartbeat(owned_);
  }
  if (!sent && sent.error().code == ErrorCode::kUnreleasedInstanceId) {
    if (!std::exchange(waits_for_instance_, true)) {
      on_note_(
          fmt::format("group \"{}\": {}; waiting until it stops, or until its session ends if it was killed",
                      options_.group, sent.error().message));
    }
    patience_ = Deadline::after_ms(kPatienceMs);
    return {};
  }
  if (!sent)
    return fail(sent.error().code, fmt::format("group \"{}\": {}", options_.group, sent.error().message));
  waits_for_instance_ = false;
  if (membership_.assigns_another_topic()) {
    if (Result<void> found = look_up_topic(); !found) return found;
  }
  if (membership_.assigned() == owned_) return {};
  if (options_.follow && membership_.assigned().empty()) {
    if (Result<void> noted = note_if_deleted(); !noted) return noted;
  }
  // What is given away is committed first: its next owner starts there.
  if (!std::includes(membership_.assigned().begin(), membership_.assigned().end(), owned_.begin(),
                     owned_.end())) {
    if (Result<void> committed = commit(); !committed) return committed;
  }
  const std::set<int32_t> assigned = membership_.assigned();
  const std::set<int32_t> before = owned_;
  std::set<int32_t> fresh;
  std::set_difference(assigned.begin(), assigned.end(), owned_.begin(), owned_.end(),
                      std::inserter(fresh, fresh.end()));
  std::vector<int32_t> gone;
  std::set_difference(owned_.begin(), owned_.end(), assigned.begin(), assigned.end(),
                      std::back_inserter(gone));
  for (const int32_t partition : gone) lose(partition);
  const Result<void> taken = take(fresh);
  // What is owned now is to be told.
  if (owned_ != before) membership_.hurry();
  return taken;
}

// The topic may have been deleted, and made again under the same name.
Result<void> GroupReader::look_up_topic() {
  Result<std::vector<TopicInfo>> topics = own_->describe_topics({{topic_.name}});
  if (!topics) return std::unexpected(topics.error());
  TopicInfo& topic = topics->front();
  // The broker asked doesn't know the new one yet; the next heartbeat asks again.
  if (topic.error != ErrorCode::kNone || topic.id == topic_.id) return {};
  is_deleted_ = false;
  on_note_(fmt::format(
      "topic \"{}\" was deleted and made again; going on with the new one, where the group is there",
      topic_.name));
  // Of the old one there is nothing to commit: it would be taken for the new one's.
  lose_all();
  topic_ = std::move(topic);
  membership_.set_topic(topic_);
  consumer_.set_topic(topic_);
  return {};
}

// Nothing is to be read any more, and the group may just have other members for it.
Result<void> GroupReader::note_if_deleted() {
  const Result<std::vector<TopicInfo>> topics = own_->describe_topics({{topic_.name}});
  if (!topics) return std::unexpected(topics.error());
  if (is_gone(topics->front().error) && !std::exchange(is_deleted_, true))
    on_note_(fmt::format("topic \"{}\" was deleted; waiting for a new one of that name", topic_.name));
  return {};
}

Result<void> GroupReader::take(const std::set<int32_t>& partitions) {
  if (partitions.empty()) return {};
  const std::vector<int32_t> numbers(partitions.begin(), partitions.end());
  const Result<GroupOffsets> committed = committed_offsets(*own_, options_.group);
  if (!committed) return std::unexpected(committed.error());
  const Isolation isolation = options_.fetch.isolation;
  const Result<Offsets> start = list_offsets(*own_, topic_.name, numbers, kEarliestTimestamp, isolation);
  // As long as they are assigned, each heartbeat comes here again.
  if (!start && options_.follow && is_gone(start.error().code)) return {};
  if (!start) return std::unexpected(start.error());
  const Result<Offsets> end = list_offsets(*own_, topic_.name, numbers, kLatestTimestamp, isolation);
  if (!end) return std::unexpected(end.error());
  for (const int32_t partition : numbers) {
    const auto place = committed->find({topic_.name, partition});
    ConsumeRange range;
    range.partition = partition;
    range.from = place != committed->end() ? place->second.offset
                 : options_.new_at_end     ? end->at(partition)
                                           : start->at(partition);
    const int64_t within = std::clamp(range.from, start->at(partition), end->at(partition));
    if (within != range.from) {
      on_note_(fmt::format("{} partition {}: the group is at offset {}, where the log {}; going on at {}",
                           topic_.name, partition, range.from,
                           range.from < within ? "no longer has records" : "doesn't reach", within));
      range.from = within;
    }
    if (!options_.follow) range.to = end->at(partition);
    consumer_.add(range);
    owned_.insert(partition);
    if (place != committed->end()) committed_[partition] = place->second.offset;
    done_[partition] = range.from;
  }
  ever_owned_ = true;
  return {};
}

}  // namespace millrace::tools
