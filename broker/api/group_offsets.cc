// OffsetCommit: 2 to 4 carry a retention, 6 adds the leader epoch, 7 static members, 9 says when the group is
// missing, 10 names topics by id. OffsetFetch: 2 asks for all topics, 7 for stable offsets, 8 for several
// groups, 9 as a member (KIP-848), 10 by topic id. OffsetDelete.
#include <algorithm>
#include <cassert>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "broker/api/answer_limit.h"
#include "broker/api/handlers.h"
#include "broker/coordinator/group_service.h"
#include "protocol/messages/offset_commit.h"
#include "protocol/messages/offset_delete.h"
#include "protocol/messages/offset_fetch.h"

namespace millrace::api {
namespace {

using coordinator::GroupRequest;
using metadata::TopicPtr;
using protocol::OffsetCommitRequest;
using protocol::OffsetCommitResponse;
using protocol::OffsetDeleteRequest;
using protocol::OffsetDeleteResponse;
using protocol::OffsetFetchRequest;
using protocol::OffsetFetchResponse;

constexpr int16_t kCommitReportsMissingGroup = 9;
constexpr int16_t kByTopicId = 10;
constexpr int16_t kFetchWithErrorCode = 2;
constexpr int16_t kFetchOfSeveralGroups = 8;

bool has_partition(const TopicPtr& topic, int32_t partition) {
  return topic && partition >= 0 && static_cast<size_t>(partition) < topic->partitions.size();
}

// Answers the partitions that don't exist and collects the others for the coordinator.
struct Commit {
  Context& context;
  metadata::ImagePtr image = context.image();  // owns the names
  GroupRequest asked = coordinator::OffsetCommit();
  Arena answers = Arena();  // kept while the request waits

  coordinator::OffsetCommit& request() { return std::get<coordinator::OffsetCommit>(asked); }
  // Hundreds of commits wait for the same sync. The memory of each is still warm when it begins to, and
  // serves the next one. What is reserved for many elements stays so: the answer needs it.
  void release() {
    if (!image) return;
    image.reset();
    asked.emplace<coordinator::OffsetCommit>();
    context.release_request(std::move(answers));
  }
};

void add_topic(const OffsetCommitRequest::Topic& wanted, OffsetCommitResponse::Topic& answer,
               Commit& commit) {
  const bool by_id = commit.context.version >= kByTopicId;
  const TopicPtr topic = by_id ? commit.image->topic(wanted.topic_id) : commit.image->topic(wanted.name);
  const ErrorCode unknown =
      by_id && !topic ? ErrorCode::kUnknownTopicId : ErrorCode::kUnknownTopicOrPartition;
  answer.name = commit.answers.copy(wanted.name);
  answer.topic_id = wanted.topic_id;
  answer.partitions =
      commit.answers.make_array<OffsetCommitResponse::Topic::Partition>(wanted.partitions.size());
  coordinator::OffsetCommit::Topic valid;
  if (topic) {
    valid = {topic->name, topic->id, {}};
    valid.partitions.resize(wanted.partitions.size());
  }
  auto* answered = answer.partitions.data();
  auto* next = valid.partitions.data();
  for (const auto& partition : wanted.partitions) {
    answered->partition_index = partition.partition_index;
    if (has_partition(topic, partition.partition_index)) {
      *next++ = {partition.partition_index, partition.committed_offset, partition.committed_leader_epoch,
                 partition.committed_metadata};
    } else {
      answered->error_code = unknown;
    }
    ++answered;
  }
  valid.partitions.resize(static_cast<size_t>(next - valid.partitions.data()));
  if (valid.partitions.empty()) return;
  commit.request().topics.push_back(std::move(valid));
}

// Gives the partitions that have no error yet those of the coordinator, which are in the same order.
void add_errors(const std::vector<ErrorCode>& errors, Array<OffsetCommitResponse::Topic>& topics) {
  size_t next = 0;
  for (OffsetCommitResponse::Topic& topic : topics) {
    for (auto& partition : topic.partitions) {
      if (partition.error_code != ErrorCode::kNone) continue;
      assert(next < errors.size());
      partition.error_code = errors[next++];
    }
  }
  assert(next == errors.size());
}

struct FetchedGroup {
  ErrorCode error = ErrorCode::kNone;
  Array<OffsetFetchResponse::Group::Topic> topics;
};

using GroupTopic = OffsetFetchResponse::Group::Topic;
using GroupPartition = OffsetFetchResponse::Group::Topic::Partition;

GroupPartition no_position(int32_t partition, ErrorCode error) {
  GroupPartition answer;
  answer.partition_index = partition;
  answer.committed_offset = -1;
  answer.committed_leader_epoch = -1;
  answer.metadata = "";
  answer.error_code = error;
  return answer;
}

GroupTopic to_topic(Context& context, const coordinator::OffsetFetchResult::Topic& from) {
  GroupTopic topic;
  topic.name = context.text(from.name);
  topic.topic_id = from.id;
  topic.partitions = context.arena.make_array<GroupPartition>(from.partitions.size());
  for (size_t i = 0; i < from.partitions.size(); ++i) {
    topic.partitions[i].partition_index = from.partitions[i].partition;
    topic.partitions[i].committed_offset = from.partitions[i].offset;
    topic.partitions[i].committed_leader_epoch = from.partitions[i].leader_epoch;
    topic.partitions[i].metadata = context.text(from.partitions[i].metadata);
    topic.partitions[i].error_code = from.partitions[i].error;
  }
  return topic;
}

GroupTopic unknown_topic(Context& context, const OffsetFetchRequest::Group::Topic& wanted) {
  GroupTopic topic;
  topic.topic_id = wanted.topic_id;
  topic.partitions = context.arena.make_array<GroupPartition>(wanted.partition_indexes.size());
  for (size_t i = 0; i < wanted.partition_indexes.size(); ++i) {
    topic.partitions[i] = no_position(wanted.partition_indexes[i], ErrorCode::kUnknownTopicId);
  }
  return topic;
}

// All that a group has committed, by topic id: positions in topics that are gone have none and are left out.
std::vector<GroupTopic> all_by_id(Context& context, const coordinator::OffsetFetchResult& result) {
  std::vector<GroupTopic> topics;
  for (const auto& from : result.topics) {
    const TopicPtr known = context.image()->topic(from.name);
    if (!known) continue;
    topics.push_back(to_topic(context, from));
    topics.back().topic_id = known->id;
  }
  return topics;
}

// What a request wants of one group, which it may have named several times: a small request that repeats
// what has long metadata could have any amount of memory, so each position is answered once.
struct WantedGroup {
  const OffsetFetchRequest::Group* first = nullptr;  // its id, and who asks
  bool all = false;
  std::vector<const OffsetFetchRequest::Group::Topic*> topics;

  void add(const OffsetFetchRequest::Group& named) {
    if (first == nullptr) first = &named;
    if (!named.topics) all = true;
    for (size_t i = 0; named.topics && i < named.topics->size(); ++i) topics.push_back(&(*named.topics)[i]);
  }
};

// In the order in which they are first named.
std::vector<WantedGroup> wanted_groups(const OffsetFetchRequest& request) {
  std::vector<WantedGroup> groups;
  std::map<std::string_view, size_t> places;
  for (const auto& named : request.groups) {
    const auto [place, fresh] = places.emplace(named.group_id, groups.size());
    if (fresh) groups.emplace_back();
    groups[place->second].add(named);
  }
  return groups;
}

// Sorts what is named twice, and leaves the rest as it is.
void drop_repeated(std::vector<int32_t>& partitions) {
  std::vector<int32_t> sorted = partitions;
  std::ranges::sort(sorted);
  const auto repeated = std::ranges::unique(sorted);
  if (repeated.empty()) return;
  sorted.erase(repeated.begin(), repeated.end());
  partitions = std::move(sorted);
}

Task<FetchedGroup> fetch_group(Context& context, const WantedGroup& named, bool require_stable) {
  const OffsetFetchRequest::Group& wanted = *named.first;
  const bool by_id = context.version >= kByTopicId;
  coordinator::OffsetFetch fetch{.group = wanted.group_id,
                                 .member = wanted.member_id,
                                 .member_epoch = wanted.member_epoch,
                                 .topics = {},
                                 .require_stable = require_stable};
  std::vector<TopicPtr> owners;
  std::vector<GroupTopic> answers;
  if (!named.all) {
    fetch.topics.emplace();
    std::map<std::string_view, size_t> places;
    for (const auto* topic : named.topics) {
      const TopicPtr known = by_id ? context.image()->topic(topic->topic_id) : nullptr;
      if (by_id && !known) {
        answers.push_back(unknown_topic(context, *topic));
        continue;
      }
      if (known) owners.push_back(known);
      const std::string_view name = known ? std::string_view(known->name) : topic->name;
      const auto [place, fresh] = places.emplace(name, fetch.topics->size());
      if (fresh) fetch.topics->push_back({name, topic->topic_id, {}});
      auto& partitions = (*fetch.topics)[place->second].partitions;
      partitions.insert(partitions.end(), topic->partition_indexes.begin(), topic->partition_indexes.end());
    }
    for (auto& topic : *fetch.topics) drop_repeated(topic.partitions);
  }
  const GroupRequest asked(std::move(fetch));
  const auto answered = co_await context.services.groups->handle(asked);
  const auto& result = std::get<coordinator::OffsetFetchResult>(answered);
  FetchedGroup group;
  group.error = result.error;
  if (result.error != ErrorCode::kNone) co_return group;
  if (by_id && named.all) {
    answers = all_by_id(context, result);
  } else {
    for (const auto& topic : result.topics) answers.push_back(to_topic(context, topic));
  }
  group.topics = context.arena.copy(answers);
  co_return group;
}

// Version 1 has no place for an error but with each partition.
Array<GroupTopic> error_topics(Context& context, const OffsetFetchRequest& request, ErrorCode error) {
  const auto count = request.topics ? request.topics->size() : 0;
  Array<GroupTopic> topics = context.arena.make_array<GroupTopic>(count);
  for (size_t i = 0; i < count; ++i) {
    const auto& wanted = (*request.topics)[i];
    topics[i].name = wanted.name;
    topics[i].partitions = context.arena.make_array<GroupPartition>(wanted.partition_indexes.size());
    for (size_t p = 0; p < wanted.partition_indexes.size(); ++p) {
      topics[i].partitions[p] = no_position(wanted.partition_indexes[p], error);
    }
  }
  return topics;
}

Array<OffsetFetchResponse::Topic> to_single_group(Context& context, const Array<GroupTopic>& from) {
  auto topics = context.arena.make_array<OffsetFetchResponse::Topic>(from.size());
  for (size_t i = 0; i < from.size(); ++i) {
    topics[i].name = from[i].name;
    topics[i].partitions =
        context.arena.make_array<OffsetFetchResponse::Topic::Partition>(from[i].partitions.size());
    for (size_t p = 0; p < from[i].partitions.size(); ++p) {
      const GroupPartition& partition = from[i].partitions[p];
      topics[i].partitions[p] = {partition.partition_index, partition.committed_offset,
                                 partition.committed_leader_epoch, partition.metadata, partition.error_code};
    }
  }
  return topics;
}

Task<> fetch_single_group(Context& context, const OffsetFetchRequest& request,
                          OffsetFetchResponse& response) {
  OffsetFetchRequest::Group wanted;
  wanted.group_id = request.group_id;
  wanted.topics.reset();
  if (request.topics) {
    wanted.topics = context.arena.make_array<OffsetFetchRequest::Group::Topic>(request.topics->size());
    for (size_t i = 0; i < request.topics->size(); ++i) {
      (*wanted.topics)[i].name = (*request.topics)[i].name;
      (*wanted.topics)[i].partition_indexes = (*request.topics)[i].partition_indexes;
    }
  }
  WantedGroup named;
  named.add(wanted);
  FetchedGroup group = co_await fetch_group(context, named, request.require_stable);
  if (group.error != ErrorCode::kNone && context.version < kFetchWithErrorCode) {
    group.topics = error_topics(context, request, group.error);
  } else {
    response.error_code = group.error;
  }
  response.topics = to_single_group(context, group.topics);
}

}  // namespace

Task<> offset_commit(Context& context, const OffsetCommitRequest& request, OffsetCommitResponse& response) {
  Commit commit{.context = context};
  coordinator::OffsetCommit& asked = commit.request();
  asked.group = request.group_id;
  asked.member = request.member_id;
  asked.instance = request.group_instance_id;
  asked.generation = request.generation_id_or_member_epoch;
  asked.retention_ms = request.retention_time_ms;
  asked.reports_missing_group = context.version >= kCommitReportsMissingGroup;
  asked.topics.reserve(request.topics.size());
  const auto answers = commit.answers.make_array<OffsetCommitResponse::Topic>(request.topics.size());
  size_t answered = 0;
  for (const auto& topic : request.topics) {
    // As Kafka does: nothing is said about a topic of which nothing is committed.
    if (!topic.partitions.empty()) add_topic(topic, answers[answered++], commit);
  }
  response.topics = {answers.data(), answered};
  if (!asked.topics.empty()) {
    const auto release = [&commit] { commit.release(); };
    const auto result = co_await context.services.groups->handle(commit.asked, release);
    add_errors(std::get<coordinator::OffsetCommitResult>(result).errors, response.topics);
  }
  commit.release();
}

Task<> offset_fetch(Context& context, const OffsetFetchRequest& request, OffsetFetchResponse& response) {
  if (context.version < kFetchOfSeveralGroups) {
    co_await fetch_single_group(context, request, response);
    co_return;
  }
  const std::vector<WantedGroup> wanted = wanted_groups(request);
  response.groups = context.arena.make_array<OffsetFetchResponse::Group>(wanted.size());
  const auto answer = [&](size_t i) -> Task<> {
    const FetchedGroup group = co_await fetch_group(context, wanted[i], request.require_stable);
    response.groups[i].topics = group.topics;
    response.groups[i].error_code = group.error;
  };
  const auto refuse = [&](size_t i) { response.groups[i].error_code = AnswerLimit::kError; };
  for (size_t i = 0; i < wanted.size(); ++i) response.groups[i].group_id = wanted[i].first->group_id;
  co_await answer_within_limit(context, wanted.size(), answer, refuse);
}

Task<> offset_delete(Context& context, const OffsetDeleteRequest& request, OffsetDeleteResponse& response) {
  coordinator::OffsetDelete removal{.group = request.group_id, .topics = {}};
  std::vector<ErrorCode*> waiting;
  auto topics = context.arena.make_array<OffsetDeleteResponse::Topic>(request.topics.size());
  for (size_t i = 0; i < request.topics.size(); ++i) {
    const auto& wanted = request.topics[i];
    const TopicPtr topic = context.image()->topic(wanted.name);
    topics[i].name = wanted.name;
    topics[i].partitions =
        context.arena.make_array<OffsetDeleteResponse::Topic::Partition>(wanted.partitions.size());
    coordinator::OffsetDelete::Topic valid{wanted.name, {}};
    for (size_t p = 0; p < wanted.partitions.size(); ++p) {
      auto& answer = topics[i].partitions[p];
      answer.partition_index = wanted.partitions[p].partition_index;
      if (!has_partition(topic, answer.partition_index)) {
        answer.error_code = ErrorCode::kUnknownTopicOrPartition;
        continue;
      }
      valid.partitions.push_back(answer.partition_index);
      waiting.push_back(&answer.error_code);
    }
    if (!valid.partitions.empty()) removal.topics.push_back(std::move(valid));
  }
  if (waiting.empty()) {
    response.topics = topics;
    co_return;
  }
  const GroupRequest asked(std::move(removal));
  const auto answered = co_await context.services.groups->handle(asked);
  const auto& result = std::get<coordinator::OffsetDeleteResult>(answered);
  response.error_code = result.error;
  if (result.error != ErrorCode::kNone) co_return;
  size_t next = 0;
  for (const auto& topic : result.topics) {
    for (const auto& [partition, error] : topic.partitions) *waiting[next++] = error;
  }
  response.topics = topics;
}

}  // namespace millrace::api
