#include "tools/client/group_lag.h"

#include <algorithm>
#include <set>

#include "protocol/record_batch.h"
#include "tools/client/fetcher.h"
#include "tools/interrupt.h"
#include "tools/timestamp.h"

namespace millrace::tools {
namespace {

constexpr size_t kDecompressLimit = 1u << 30;
// Of each partition only one batch is wanted. A larger one comes alone in an answer.
constexpr int32_t kPartitionBytes = 16 * 1024;
constexpr int32_t kAnswerBytes = 4 * 1024 * 1024;
constexpr int64_t kPollMs = 500;

// The timestamp of the first record at or after `offset` among the fetched batches; transactions' markers are
// no records. Nothing when these batches have none.
Result<std::optional<int64_t>> first_timestamp(Bytes batches, int64_t offset) {
  std::optional<int64_t> found;
  Result<void> bad;
  const Result<size_t> walked =
      protocol::for_each_batch(batches, [&](const protocol::BatchHeader& header, Bytes batch) {
        if (header.is_control() || header.last_offset() < offset) return true;
        bad = protocol::for_each_record(batch, kDecompressLimit, [&](const protocol::RecordView& record) {
          if (record.offset < offset) return true;
          found = record.timestamp_ms;
          return false;
        });
        return bad.has_value() && !found;
      });
  if (!walked) return std::unexpected(walked.error());
  if (!bad) return std::unexpected(bad.error());
  return found;
}

// What the group reads, as far as it can be known.
std::set<std::string> topics_read(const GroupDescription& group, const GroupOffsets& committed) {
  std::set<std::string> names;
  for (const GroupMember& member : group.members) {
    names.insert(member.topics.begin(), member.topics.end());
    // A regular expression says itself in what it was given only.
    for (const auto& [topic, partitions] : member.assignment) names.insert(topic);
  }
  if (!names.empty()) return names;
  for (const auto& [place, offset] : committed) names.insert(place.topic);
  return names;
}

using ByTopic = std::map<std::string, std::vector<PartitionLag*>>;

// Fills in the bounds of one topic's partitions.
Result<void> fill_bounds(Cluster& cluster, const TopicInfo& topic,
                         const std::vector<PartitionLag*>& partitions) {
  std::vector<int32_t> numbers;
  for (const PartitionLag* lag : partitions) {
    const PartitionInfo* info = topic.partition(lag->place.partition);
    if (info != nullptr && info->leader >= 0) numbers.push_back(lag->place.partition);
  }
  if (numbers.empty()) return {};
  Result<Offsets> start =
      list_offsets(cluster, topic.name, numbers, kEarliestTimestamp, Isolation::kReadUncommitted);
  if (!start) return std::unexpected(start.error());
  Result<Offsets> end =
      list_offsets(cluster, topic.name, numbers, kLatestTimestamp, Isolation::kReadUncommitted);
  if (!end) return std::unexpected(end.error());
  for (PartitionLag* lag : partitions) {
    if (!end->contains(lag->place.partition)) continue;
    lag->start = (*start)[lag->place.partition];
    lag->end = (*end)[lag->place.partition];
  }
  return {};
}

Result<void> fill_ages(Cluster& cluster, const TopicInfo& topic,
                       const std::vector<PartitionLag*>& partitions) {
  Offsets unread;
  for (const PartitionLag* lag : partitions) {
    if (lag->records().value_or(0) > 0)
      unread[lag->place.partition] = std::max(*lag->committed, lag->start.value_or(0));
  }
  if (unread.empty()) return {};
  Result<std::map<int32_t, int64_t>> times = timestamps_at(cluster, topic, unread);
  if (!times) return std::unexpected(times.error());
  for (PartitionLag* lag : partitions) {
    if (const auto time = times->find(lag->place.partition); time != times->end() && time->second >= 0)
      lag->oldest_unread_ms = time->second;
  }
  return {};
}

}  // namespace

std::optional<int64_t> PartitionLag::records() const {
  if (!committed || !end) return std::nullopt;
  return std::max<int64_t>(0, *end - *committed);
}

Result<std::map<int32_t, int64_t>> timestamps_at(Cluster& cluster, const TopicInfo& topic,
                                                 const Offsets& offsets) {
  FetchOptions options;
  options.max_wait_ms = 0;
  options.partition_max_bytes = kPartitionBytes;
  options.max_bytes = kAnswerBytes;
  Fetcher fetcher(cluster, topic, options);
  Offsets left = offsets;
  for (const auto& [partition, offset] : left) fetcher.seek(partition, offset);
  std::map<int32_t, int64_t> found;
  const Deadline deadline = Deadline::after_ms(cluster.options().timeout_ms);
  while (!left.empty() && !deadline.passed() && !interrupted()) {
    Result<std::vector<FetchedData>> fetched = fetcher.poll(kPollMs);
    if (!fetched) return std::unexpected(fetched.error());
    for (const FetchedData& data : *fetched) {
      const auto wanted = left.find(data.partition);
      if (wanted == left.end()) continue;
      // Retention went over the offset meanwhile.
      if (data.error == ErrorCode::kOffsetOutOfRange && data.log_start_offset > wanted->second) {
        wanted->second = data.log_start_offset;
        fetcher.seek(data.partition, wanted->second);
        continue;
      }
      // Damage and the like is for a consumer to tell; here it is an age that isn't known.
      const auto time = data.error == ErrorCode::kNone ? first_timestamp(data.records, wanted->second)
                                                       : Result<std::optional<int64_t>>{};
      if (time && *time) found[data.partition] = **time;
      const bool more =
          time && !*time && data.error == ErrorCode::kNone && data.next_offset < data.end_offset;
      if (more) continue;
      fetcher.remove(data.partition);
      left.erase(wanted);
    }
  }
  return found;
}

Result<LagSample> sample_lag(Cluster& cluster, const GroupDescription& group) {
  Result<GroupOffsets> committed = committed_offsets(cluster, group.name);
  if (!committed) return std::unexpected(committed.error());
  std::map<TopicPartition, PartitionLag> places;
  for (const auto& [place, offset] : *committed) places[place].committed = offset.offset;
  for (const GroupMember& member : group.members) {
    for (const auto& [topic, partitions] : member.assignment) {
      for (const int32_t partition : partitions) {
        PartitionLag& lag = places[{topic, partition}];
        lag.member_id = member.id;
        lag.client_id = member.client_id;
        lag.host = member.host;
      }
    }
  }
  const std::set<std::string> read = topics_read(group, *committed);
  std::set<std::string> names = read;
  for (const auto& [place, lag] : places) names.insert(place.topic);
  Result<std::vector<TopicInfo>> topics =
      cluster.describe_topics(std::vector<std::string>(names.begin(), names.end()));
  if (!topics) return std::unexpected(topics.error());
  for (const TopicInfo& topic : *topics) {
    if (topic.error != ErrorCode::kNone || !read.contains(topic.name)) continue;
    for (const PartitionInfo& info : topic.partitions) places.try_emplace({topic.name, info.partition});
  }
  ByTopic by_topic;
  for (auto& [place, lag] : places) {
    lag.place = place;
    by_topic[place.topic].push_back(&lag);
  }
  for (const TopicInfo& topic : *topics) {
    if (topic.error != ErrorCode::kNone) continue;
    if (Result<void> filled = fill_bounds(cluster, topic, by_topic[topic.name]); !filled)
      return std::unexpected(filled.error());
  }
  LagSample sample;
  // Rates compare what was read up to here.
  sample.at_us = steady_us();
  for (const TopicInfo& topic : *topics) {
    if (topic.error != ErrorCode::kNone) continue;
    if (Result<void> filled = fill_ages(cluster, topic, by_topic[topic.name]); !filled)
      return std::unexpected(filled.error());
  }
  sample.at_ms = wall_clock_ms();
  for (auto& [place, lag] : places) {
    if (lag.committed || !lag.member_id.empty() || lag.is_uncommitted())
      sample.partitions.push_back(std::move(lag));
  }
  return sample;
}

}  // namespace millrace::tools
