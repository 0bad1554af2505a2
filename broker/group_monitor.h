// Watches consumer groups for whoever asks: /metrics, under kafka_exporter's names, and /groups/NAME. Nothing
// is done while nobody asks. Lives on the home shard; coordinators and partitions are asked on their own
// shards, in visits of bounded length.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "broker/api/services.h"
#include "broker/coordinator/group_progress.h"
#include "broker/group_rates.h"
#include "broker/metadata/turn.h"
#include "broker/runtime/metrics.h"

namespace millrace::broker {

struct PositionReport {
  int32_t partition = 0;
  int64_t committed = 0;
  // Nothing when the partition isn't there.
  std::optional<int64_t> lag;
  // Age of the oldest unread record, 0 if and only if there is none: now minus the first timestamp of the
  // batch that holds it, so at most a batch's span too much. Nothing when it isn't known (yet).
  std::optional<double> lag_seconds;
};

struct TopicReport {
  std::string name;
  std::vector<PositionReport> positions;
  int64_t committed = 0;
  int64_t lag = 0;
  // Nothing until all positions have some.
  std::optional<Rates> rates;
};

struct GroupReport {
  std::string name;
  std::string state;
  std::string type;
  std::string protocol_type;
  int64_t members = 0;
  // What follows is of the topics that its members are subscribed to; where they don't tell, or there are
  // none, of those that it has committed in.
  int64_t partitions = 0;
  // Those that hold records, but no commit of the group says where it is: it may have all of them to read or
  // none (auto.offset.reset is the members' own affair). So it may be further behind than the numbers below
  // say, and a zero that could be more is nothing.
  int64_t uncommitted_partitions = 0;
  int64_t lagging_partitions = 0;
  std::optional<int64_t> lag = 0;
  // The largest of its positions that is known; nothing when none is of those that are behind.
  std::optional<double> lag_seconds;
  // Nothing until all its positions have some.
  std::optional<Rates> rates;
  std::optional<int64_t> useful_members = 0;
  // All that it has committed in.
  std::vector<TopicReport> topics;
};

class GroupMonitor {
 public:
  // Positions that one scrape looks at; the groups beyond, in the order of coordinators and names, have their
  // members counted only, and millrace_consumergroups_left_out says how many these are.
  static constexpr size_t kMostPositions = 50'000;
  // What one scrape says of groups, roughly: ids may be 32 KiB, and stand in every line. The groups beyond
  // are left out altogether.
  static constexpr size_t kMostBytes = size_t{64} << 20;
  // Positions of one visit to a shard, and between two pauses.
  static constexpr size_t kBatch = 250;
  // Logs that are asked for a timestamp in one scrape, and in one visit. What is known of a position that
  // hasn't moved isn't asked again.
  static constexpr size_t kMostTimestamps = 2'000;
  static constexpr size_t kTimestampsPerVisit = 50;
  // A group that nobody has looked at for this long is forgotten.
  static constexpr int64_t kForgetMs = 600'000;
  // Positions whose looks are kept, for rates and for what is known of unread records. A group beyond has no
  // rates until others are forgotten.
  static constexpr size_t kMostRemembered = 2 * kMostPositions;

  // The services outlive it.
  explicit GroupMonitor(api::Services& services) : services_(services) {}

  // One group. Errors: kGroupIdNotFound, kCoordinatorLoadInProgress, kNotCoordinator.
  runtime::Task<Result<GroupReport>> look(std::string_view group);
  // All groups. One scrape at a time; another one waits.
  runtime::Task<> emit(runtime::MetricsWriter& out);

 private:
  struct Bounds {
    int64_t start = 0;
    int64_t end = 0;
    int64_t clean_end = -1;
  };
  using BoundsByPlace = std::unordered_map<TopicIdPartition, Bounds>;
  struct Question {
    TopicIdPartition place;
    int64_t offset = 0;
    int64_t timestamp_ms = -1;
  };

  runtime::Task<std::vector<GroupReport>> report(std::vector<coordinator::GroupProgress> groups,
                                                 size_t& timestamps_left);
  std::vector<Mark> marks_of(const coordinator::GroupProgress& group, const metadata::ClusterImage& image,
                             const BoundsByPlace& bounds) const;
  runtime::Task<BoundsByPlace> bounds_of(std::vector<TopicIdPartition> places);
  // Fills in the timestamps of unread records, those known from the last look for free unless the log was
  // compacted since.
  runtime::Task<> date(std::vector<std::vector<Mark>>& marks,
                       const std::vector<coordinator::GroupProgress>& groups, const BoundsByPlace& bounds,
                       size_t& timestamps_left);
  runtime::Task<> ask_timestamps(std::vector<Question>& questions);
  GroupReport made_report(const coordinator::GroupProgress& group, const metadata::ClusterImage& image,
                          const GroupHistory& history, const BoundsByPlace& bounds, int64_t wall_ms) const;
  // Places that a report on the group looks at.
  size_t position_count(const coordinator::GroupProgress& group) const;
  void forget_old();
  // What is known of the group, which has so many positions; `passing` if there is no room to keep more.
  GroupHistory& history_of(const std::string& group, size_t positions, GroupHistory& passing);

  api::Services& services_;
  std::map<std::string, GroupHistory, std::less<>> histories_;
  size_t remembered_ = 0;  // positions in histories_, and one for each group
  metadata::TurnQueue scrapes_;
};

// The document of /groups/NAME: one line of JSON, README.md describes it.
std::string to_json(const GroupReport& report);

}  // namespace millrace::broker
