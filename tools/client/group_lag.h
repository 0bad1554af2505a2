// How far a group is behind, at one moment.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tools/client/group_offsets.h"
#include "tools/client/offsets.h"

namespace millrace::tools {

struct PartitionLag {
  TopicPartition place;
  // Nothing: the group has committed nothing there.
  std::optional<int64_t> committed;
  // The log's bounds; nothing when its topic is gone or has no leader.
  std::optional<int64_t> start;
  std::optional<int64_t> end;
  // Timestamp of the oldest unread record; nothing when there is none, or when it isn't known.
  std::optional<int64_t> oldest_unread_ms;
  // Who reads it now: the member's id, client id and host; empty when nobody does.
  std::string member_id;
  std::string client_id;
  std::string host;

  // Records after the committed offset; offsets that compaction took count. Nothing without a commit.
  std::optional<int64_t> records() const;
  // There are records, but no commit says whether the group has read them.
  bool is_uncommitted() const { return !committed && end.value_or(0) > start.value_or(0); }
};

struct LagSample {
  // Of the steady clock, and of the wall clock.
  int64_t at_us = 0;
  int64_t at_ms = 0;
  // In order of topic and number: what the group has committed or its members have; and of the topics that
  // its members are subscribed to (where there are none or they don't tell: that it has committed in) those
  // partitions that have records and no commit.
  std::vector<PartitionLag> partitions;
};

// Errors are those of the broker; a topic that is gone is none.
Result<LagSample> sample_lag(Cluster& cluster, const GroupDescription& group);

// The timestamps of the first records at or after the offsets; partitions without such a record are left out.
// Reads at most a batch or so of each.
Result<std::map<int32_t, int64_t>> timestamps_at(Cluster& cluster, const TopicInfo& topic,
                                                 const Offsets& offsets);

}  // namespace millrace::tools
