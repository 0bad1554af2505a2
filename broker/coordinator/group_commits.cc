// OffsetCommit v2-10, OffsetFetch v1-10, OffsetDelete v0.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "broker/coordinator/group_coordinator.h"

namespace millrace::coordinator {
namespace {

// Deletions and expiry write as much as they have to, in batches well below the log's limit for one (1 MiB).
constexpr size_t kMaxWriteBytes = 256 * 1024;
// As good as for ever, and no overflow behind it.
constexpr int64_t kMaxRetentionMs = INT64_MAX / 4;

}  // namespace

ErrorCode GroupCoordinator::check_commit(const OffsetCommit& request, Group* group, int64_t now_ms) {
  if (group == nullptr) {
    // A simple consumer or an administrator: the group comes to be with the commit.
    if (request.generation < 0) return ErrorCode::kNone;
    return request.reports_missing_group ? ErrorCode::kGroupIdNotFound : ErrorCode::kIllegalGeneration;
  }
  if (group->consumer() != nullptr) return check_commit(request, *group->consumer());
  auto& classic = std::get<ClassicGroup>(group->kind);
  const bool empty = classic.state == GroupState::kEmpty;
  if (request.generation < 0 && empty) return ErrorCode::kNone;
  if (request.generation < 0 && request.member.empty() && !request.instance)
    return ErrorCode::kUnknownMemberId;
  const ErrorCode error = check_member(classic, request.member, request.instance);
  if (error != ErrorCode::kNone) return error;
  if (request.generation != classic.generation) return ErrorCode::kIllegalGeneration;
  // The member knows its generation from its join and has no assignment yet: it has nothing to commit.
  if (classic.state == GroupState::kCompletingRebalance) return ErrorCode::kRebalanceInProgress;
  ClassicMember& member = *classic.find(request.member);
  start_session(*group, member, member.session_timeout_ms, now_ms);
  return ErrorCode::kNone;
}

// Whether there is memory for the positions; there always is for those that are there already.
bool GroupCoordinator::has_room_for_positions(const OffsetCommit& request, const Group* group,
                                              int64_t now_ms) {
  const int64_t held = memory_->positions.bytes();
  const auto bytes = [&](bool only_new) {
    size_t more = group == nullptr ? static_cast<size_t>(Group::bytes_of(request.group)) : 0;
    for (const OffsetCommit::Topic& topic : request.topics) {
      bool is_new = true;
      for (const OffsetCommit::Partition& partition : topic.partitions) {
        const size_t metadata = partition.metadata_bytes();
        const auto known = only_new && group != nullptr ? group->offsets.find(topic.name, partition.partition)
                                                        : std::nullopt;
        is_new &= !known;
        if (!known || known->metadata.size() < metadata) more += GroupOffsets::bytes_of_position(metadata);
      }
      if (is_new) more += GroupOffsets::bytes_of_topic(topic.name);
    }
    return static_cast<int64_t>(more);
  };
  const auto fits = [&](int64_t more) {
    return more == 0 || more <= (settings_.max_positions_bytes - held) / 4;
  };
  if (fits(bytes(false)) || fits(bytes(true))) return true;
  expire_soon(now_ms);
  effects_.warning = fmt::format(
      "Commits of new positions are refused for now (COORDINATOR_NOT_AVAILABLE): those of this shard's "
      "groups take {} of at most {} MiB of memory. Delete groups that nobody uses any more (millrace group "
      "delete), have clients commit less metadata, or lower offsets.retention.minutes",
      mib(held), mib(settings_.max_positions_bytes));
  return false;
}

void GroupCoordinator::handle_request(uint64_t ticket, const OffsetCommit& request, int64_t now_ms) {
  Group* group = find(request.group);
  ErrorCode error = check_commit(request, group, now_ms);
  if (error == ErrorCode::kNone && !has_room_for_positions(request, group, now_ms))
    error = ErrorCode::kCoordinatorNotAvailable;
  if (error != ErrorCode::kNone) return answer(ticket, error_response(request, error));
  OffsetCommitResult result;
  result.errors.resize(request.partition_count(), ErrorCode::kNone);
  size_t asked = 0;
  CommittedPositions commit{.group = std::string(request.group), .commit_timestamp_ms = now_ms, .topics = {}};
  if (request.retention_ms != -1)
    commit.expire_timestamp_ms = now_ms + std::min(request.retention_ms, kMaxRetentionMs);
  commit.topics.reserve(request.topics.size());
  for (const OffsetCommit::Topic& topic : request.topics) {
    auto& to = commit.topics.emplace_back(CommittedPositions::Topic{std::string(topic.name), topic.id, {}});
    to.positions.resize(topic.partitions.size());
    auto* next = to.positions.data();
    for (const OffsetCommit::Partition& partition : topic.partitions) {
      ErrorCode& code = result.errors[asked++];
      if (partition.metadata_bytes() > static_cast<size_t>(settings_.offset_metadata_max_bytes)) {
        code = ErrorCode::kOffsetMetadataTooLarge;
        continue;
      }
      next->partition = partition.partition;
      next->leader_epoch = partition.leader_epoch;
      next->offset = partition.offset;
      if (partition.metadata_bytes() > 0) next->metadata = *partition.metadata;
      ++next;
    }
    to.positions.resize(static_cast<size_t>(next - to.positions.data()));
    if (to.positions.empty()) commit.topics.pop_back();
  }
  if (commit.topics.empty()) return answer(ticket, std::move(result));
  write(std::move(commit), SendAnswer{ticket, std::move(result)});
}

void GroupCoordinator::handle_request(uint64_t ticket, const OffsetFetch& request, int64_t) {
  const Group* group = find(request.group);
  OffsetFetchResult result;
  if (group != nullptr && group->consumer() != nullptr)
    result.error = check_fetch(request, *group->consumer());
  if (result.error != ErrorCode::kNone) return answer(ticket, std::move(result));
  const auto position = [](int32_t partition, const CommittedOffset& at) {
    return OffsetFetchResult::Partition{partition, at.offset, at.leader_epoch, at.metadata, ErrorCode::kNone};
  };
  FormerTopics former(*topics_);
  if (request.topics) {
    for (const OffsetFetch::Topic& topic : *request.topics) {
      auto& out = result.topics.emplace_back(OffsetFetchResult::Topic{std::string(topic.name), topic.id, {}});
      out.partitions.reserve(topic.partitions.size());
      for (const int32_t partition : topic.partitions) {
        const auto at = group == nullptr ? std::nullopt : group->offsets.find(topic.name, partition);
        // A position in a former topic of the same name says nothing about this one.
        const bool by_id = !topic.id.is_zero();
        const bool none = !at || (by_id && !at->topic_id.is_zero() && at->topic_id != topic.id) ||
                          (!by_id && former.had(topic.name, at->topic_id));
        out.partitions.push_back(none ? OffsetFetchResult::Partition{.partition = partition}
                                      : position(partition, *at));
      }
    }
  } else if (group != nullptr) {
    group->offsets.for_each([&](std::string_view topic, int32_t partition, const CommittedOffset& at) {
      if (former.had(topic, at.topic_id)) return;
      if (result.topics.empty() || result.topics.back().name != topic)
        result.topics.push_back({std::string(topic), {}, {}});
      result.topics.back().partitions.push_back(position(partition, at));
    });
  }
  // A position that is not committed yet could be lost: whoever reads it waits for it, so that no reader ever
  // sees a group go back.
  answer_when_stored(group, ticket, std::move(result));
}

void GroupCoordinator::handle_request(uint64_t ticket, const OffsetDelete& request, int64_t) {
  const auto refuse = [&](ErrorCode error) { answer(ticket, OffsetDeleteResult{error, {}}); };
  if (request.group.empty()) return refuse(ErrorCode::kInvalidGroupId);
  const Group* group = find(request.group);
  if (group == nullptr) return refuse(ErrorCode::kGroupIdNotFound);
  const auto* classic = std::get_if<ClassicGroup>(&group->kind);
  if (classic != nullptr && classic->state != GroupState::kEmpty && !classic->uses_consumer_protocol())
    return refuse(ErrorCode::kNonEmptyGroup);
  OffsetDeleteResult result;
  std::vector<GroupRecord> records;
  for (const OffsetDelete::Topic& topic : request.topics) {
    auto& out = result.topics.emplace_back(OffsetDeleteResult::Topic{std::string(topic.name), {}});
    const bool subscribed =
        std::visit([&](const auto& kind) { return kind.subscribes(topic.name); }, group->kind);
    for (const int32_t partition : topic.partitions) {
      out.partitions.emplace_back(partition,
                                  subscribed ? ErrorCode::kGroupSubscribedToTopic : ErrorCode::kNone);
      if (subscribed || !group->offsets.find(topic.name, partition)) continue;
      records.push_back(OffsetCommitRecord{group->id, std::string(topic.name), partition, std::nullopt});
    }
  }
  if (records.empty()) return answer(ticket, std::move(result));
  write_removals(std::move(records), SendAnswer{ticket, std::move(result)});
}

void GroupCoordinator::write_removals(std::vector<GroupRecord> records, SendAnswer then) {
  size_t bytes = 0;
  std::vector<std::vector<GroupRecord>> batches(1);
  for (GroupRecord& record : records) {
    const size_t size = estimated_bytes(record);
    if (bytes + size > kMaxWriteBytes && !batches.back().empty()) {
      batches.emplace_back();
      bytes = 0;
    }
    bytes += size;
    batches.back().push_back(std::move(record));
  }
  const int64_t last = next_write_ + static_cast<int64_t>(batches.size()) - 1;
  for (size_t i = 0; i + 1 < batches.size(); ++i) write(std::move(batches[i]), true, PartOfRemoval{last});
  write(std::move(batches.back()), true, std::move(then));
}

}  // namespace millrace::coordinator
