#include "broker/group_monitor.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "broker/coordinator/group_service.h"
#include "broker/replication/partition.h"
#include "broker/unread_timestamp.h"

namespace millrace::broker {
namespace {

using coordinator::GroupProgress;
using runtime::Task;

// Lets others have the shard.
Task<> let_others(api::Services& services) { return services.home().sleep_ms(0); }

int64_t monotonic_ms(api::Services& services) {
  constexpr int64_t kNsPerMs = 1'000'000;
  return services.home().clock().monotonic_ns() / kNsPerMs;
}

// A sum of rates that is nothing as soon as one of them isn't known: a part of a group's would look like a
// group that has become slow, and ask for members that it doesn't need.
class RateSum {
 public:
  void add(const std::optional<Rates>& rates) {
    is_whole_ = is_whole_ && rates;
    if (!rates) return;
    is_empty_ = false;
    sum_.in += rates->in;
    sum_.out += rates->out;
  }
  std::optional<Rates> sum() const { return is_whole_ && !is_empty_ ? std::optional(sum_) : std::nullopt; }

 private:
  bool is_whole_ = true;
  bool is_empty_ = true;
  Rates sum_;
};

// What the group reads, as far as it can be known: what it has committed in may be long past.
std::set<std::string_view> topics_read(const GroupProgress& group) {
  if (group.members > 0 && !group.subscribed.empty())
    return {group.subscribed.begin(), group.subscribed.end()};
  std::set<std::string_view> names;
  for (const GroupProgress::Topic& topic : group.topics) names.insert(topic.name);
  return names;
}

// Calls f(topic, partition) for each that the group reads and has no commit in.
template <class F>
void for_each_uncommitted(const GroupProgress& group, const metadata::ClusterImage& image, F f) {
  std::map<std::string_view, const GroupProgress::Topic*> topics;
  for (const GroupProgress::Topic& topic : group.topics) topics.emplace(topic.name, &topic);
  for (const std::string_view name : topics_read(group)) {
    const metadata::TopicPtr topic = image.topic(name);
    if (!topic) continue;
    std::set<int32_t> committed;
    if (const auto known = topics.find(name); known != topics.end()) {
      for (const auto& [partition, offset] : known->second->offsets) committed.insert(partition);
    }
    for (int32_t partition = 0; static_cast<size_t>(partition) < topic->partitions.size(); ++partition) {
      if (!committed.contains(partition)) f(TopicIdPartition{topic->id, partition});
    }
  }
}

}  // namespace

std::vector<Mark> GroupMonitor::marks_of(const GroupProgress& group, const metadata::ClusterImage& image,
                                         const BoundsByPlace& bounds) const {
  std::vector<Mark> marks;
  for (const GroupProgress::Topic& topic : group.topics) {
    const metadata::TopicPtr there = image.topic(topic.name);
    if (!there) continue;
    for (const auto& [partition, committed] : topic.offsets) {
      const auto found = bounds.find({there->id, partition});
      if (found == bounds.end()) continue;
      marks.push_back({.place = found->first,
                       .committed = committed,
                       .end = found->second.end,
                       .clean_end = found->second.clean_end});
    }
  }
  std::ranges::sort(marks, {}, &Mark::place);
  return marks;
}

Task<GroupMonitor::BoundsByPlace> GroupMonitor::bounds_of(std::vector<TopicIdPartition> places) {
  std::ranges::sort(places);
  places.erase(std::ranges::unique(places).begin(), places.end());
  std::vector<std::vector<TopicIdPartition>> by_shard(services_.shards.size());
  for (const TopicIdPartition& place : places) by_shard[services_.shards.index_of(place)].push_back(place);
  BoundsByPlace bounds;
  for (size_t i = 0; i < by_shard.size(); ++i) {
    const std::vector<TopicIdPartition>& wanted = by_shard[i];
    for (size_t first = 0; first < wanted.size(); first += kBatch) {
      const size_t last = std::min(first + kBatch, wanted.size());
      runtime::Shard& shard = services_.shards[i];
      auto read = [this, &shard, &wanted, first, last] {
        std::vector<std::pair<TopicIdPartition, Bounds>> found;
        for (size_t at = first; at < last; ++at) {
          const auto partition = services_.of(shard).partitions.find(wanted[at]);
          if (!partition || partition->removed()) continue;
          const storage::Log& log = partition->log();
          found.emplace_back(wanted[at],
                             Bounds{.start = log.log_start_offset(),
                                    .end = partition->high_watermark(),
                                    .clean_end = log.config().compact ? log.first_dirty_offset() : -1});
        }
        return found;
      };
      const auto found = co_await shard.call(read);
      bounds.insert(found.begin(), found.end());
      co_await let_others(services_);
    }
  }
  co_return bounds;
}

Task<> GroupMonitor::ask_timestamps(std::vector<Question>& questions) {
  std::vector<std::vector<Question*>> by_shard(services_.shards.size());
  for (Question& question : questions)
    by_shard[services_.shards.index_of(question.place)].push_back(&question);
  for (size_t i = 0; i < by_shard.size(); ++i) {
    const std::vector<Question*>& asked = by_shard[i];
    for (size_t first = 0; first < asked.size(); first += kTimestampsPerVisit) {
      const size_t last = std::min(first + kTimestampsPerVisit, asked.size());
      runtime::Shard& shard = services_.shards[i];
      auto ask = [this, &shard, &asked, first, last]() -> Task<> {
        for (size_t at = first; at < last; ++at) {
          Question& question = *asked[at];
          question.timestamp_ms = co_await unread_timestamp(
              services_.of(shard).partitions, services_.cold_reads, question.place, question.offset);
        }
      };
      co_await shard.call(ask);
      co_await let_others(services_);
    }
  }
}

Task<> GroupMonitor::date(std::vector<std::vector<Mark>>& marks, const std::vector<GroupProgress>& groups,
                          const BoundsByPlace& bounds, size_t& timestamps_left) {
  std::vector<Question> questions;
  std::vector<Mark*> asked;
  for (size_t i = 0; i < groups.size(); ++i) {
    const auto history = histories_.find(groups[i].name);
    for (Mark& mark : marks[i]) {
      if (mark.committed >= mark.end) continue;
      const Mark* const before = history == histories_.end() ? nullptr : history->second.last(mark.place);
      const int64_t start = bounds.at(mark.place).start;
      // What retention or compaction took may have been the record.
      if (before != nullptr && before->committed == mark.committed && start <= mark.committed &&
          before->clean_end == mark.clean_end)
        mark.oldest_unread_ms = before->oldest_unread_ms;
      if (mark.oldest_unread_ms >= 0 || questions.size() >= timestamps_left) continue;
      questions.push_back({mark.place, std::max(mark.committed, start)});
      asked.push_back(&mark);
    }
  }
  timestamps_left -= questions.size();
  co_await ask_timestamps(questions);
  for (size_t i = 0; i < questions.size(); ++i) asked[i]->oldest_unread_ms = questions[i].timestamp_ms;
}

GroupReport GroupMonitor::made_report(const GroupProgress& group, const metadata::ClusterImage& image,
                                      const GroupHistory& history, const BoundsByPlace& bounds,
                                      int64_t wall_ms) const {
  GroupReport report;
  report.name = group.name;
  report.state = group.state;
  report.type = group.type;
  report.protocol_type = group.protocol_type;
  report.members = static_cast<int64_t>(group.members);
  const std::set<std::string_view> read = topics_read(group);
  for (const std::string_view name : read) {
    if (const metadata::TopicPtr topic = image.topic(name))
      report.partitions += static_cast<int64_t>(topic->partitions.size());
  }
  auto count_records = [&](const TopicIdPartition& place) {
    const auto found = bounds.find(place);
    report.uncommitted_partitions += found != bounds.end() && found->second.end > found->second.start;
  };
  for_each_uncommitted(group, image, count_records);
  int64_t lag = 0;
  RateSum group_rates;
  for (const GroupProgress::Topic& from : group.topics) {
    TopicReport& topic = report.topics.emplace_back();
    topic.name = from.name;
    const metadata::TopicPtr there = image.topic(from.name);
    const bool is_read = read.contains(from.name);
    RateSum topic_rates;
    for (const auto& [partition, committed] : from.offsets) {
      PositionReport& position = topic.positions.emplace_back();
      position.partition = partition;
      position.committed = committed;
      topic.committed += committed;
      const TopicIdPartition place{there ? there->id : Uuid{}, partition};
      const Mark* const mark = history.last(place);
      if (mark == nullptr) continue;
      position.lag = std::max<int64_t>(0, mark->end - committed);
      topic.lag += *position.lag;
      if (*position.lag > 0 && is_read) ++report.lagging_partitions;
      if (*position.lag == 0) position.lag_seconds = 0;
      // Clocks of producers may be ahead; 0 would say that there is nothing to read.
      if (*position.lag > 0 && mark->oldest_unread_ms >= 0)
        position.lag_seconds =
            static_cast<double>(std::max<int64_t>(1, wall_ms - mark->oldest_unread_ms)) / 1000;
      if (position.lag_seconds && is_read)
        report.lag_seconds = std::max(report.lag_seconds.value_or(0), *position.lag_seconds);
      const std::optional<Rates> rates = history.rates(place);
      topic_rates.add(rates);
      if (is_read) group_rates.add(rates);
    }
    topic.rates = topic_rates.sum();
    if (is_read) lag += topic.lag;
  }
  report.rates = group_rates.sum();
  report.lag = lag;
  // All that is behind is of an unknown age.
  if (lag > 0 && report.lag_seconds == 0) report.lag_seconds.reset();
  report.useful_members = useful_members({.members = report.members,
                                          .partitions = report.partitions,
                                          .lagging_partitions = report.lagging_partitions,
                                          .lag = lag,
                                          .rates = report.rates});
  if (report.uncommitted_partitions > 0 || group.subscription_unknown) {
    if (report.lag == 0) report.lag.reset();
    if (report.lag_seconds == 0) report.lag_seconds.reset();
    if (report.useful_members == 0 && (group.subscription_unknown || report.members < report.partitions))
      report.useful_members.reset();
  }
  return report;
}

Task<std::vector<GroupReport>> GroupMonitor::report(std::vector<GroupProgress> groups,
                                                    size_t& timestamps_left) {
  const metadata::ImagePtr image = services_.metadata.image();
  std::vector<TopicIdPartition> places;
  for (const GroupProgress& group : groups) {
    for (const GroupProgress::Topic& topic : group.topics) {
      const metadata::TopicPtr there = image->topic(topic.name);
      if (!there) continue;
      for (const auto& [partition, committed] : topic.offsets) places.push_back({there->id, partition});
    }
    auto add_place = [&](const TopicIdPartition& place) { places.push_back(place); };
    for_each_uncommitted(group, *image, add_place);
  }
  const BoundsByPlace bounds = co_await bounds_of(std::move(places));
  std::vector<std::vector<Mark>> marks;
  for (const GroupProgress& group : groups) marks.push_back(marks_of(group, *image, bounds));
  co_await date(marks, groups, bounds, timestamps_left);
  std::vector<GroupReport> reports;
  const int64_t now_ms = monotonic_ms(services_);
  const int64_t wall_ms = services_.home().clock().now_ms();
  for (size_t i = 0; i < groups.size(); ++i) {
    GroupHistory passing;
    GroupHistory& history = history_of(groups[i].name, marks[i].size(), passing);
    history.add(now_ms, std::move(marks[i]));
    reports.push_back(made_report(groups[i], *image, history, bounds, wall_ms));
  }
  co_return reports;
}

size_t GroupMonitor::position_count(const GroupProgress& group) const {
  size_t count = group.position_count();
  auto add_one = [&](const TopicIdPartition&) { ++count; };
  for_each_uncommitted(group, *services_.metadata.image(), add_one);
  return count;
}

void GroupMonitor::forget_old() {
  const int64_t now_ms = monotonic_ms(services_);
  remembered_ = 0;
  std::erase_if(histories_, [&](const auto& entry) {
    if (now_ms - entry.second.last_ms() > kForgetMs) return true;
    remembered_ += entry.second.size() + 1;
    return false;
  });
}

// Somebody who asks for very many, one by one, costs those that are watched nothing.
GroupHistory& GroupMonitor::history_of(const std::string& group, size_t positions, GroupHistory& passing) {
  const auto known = histories_.find(group);
  if (known != histories_.end()) remembered_ -= known->second.size() + 1;
  if (remembered_ + positions + 1 > kMostRemembered) {
    if (known != histories_.end()) histories_.erase(known);
    return passing;
  }
  remembered_ += positions + 1;
  return known != histories_.end() ? known->second : histories_[group];
}

Task<Result<GroupReport>> GroupMonitor::look(std::string_view name) {
  forget_old();
  Result<GroupProgress> progress = co_await services_.groups->progress(name);
  if (!progress) co_return std::unexpected(std::move(progress.error()));
  std::vector<GroupProgress> groups;
  groups.push_back(std::move(*progress));
  size_t timestamps_left = kMostTimestamps;
  std::vector<GroupReport> reports = co_await report(std::move(groups), timestamps_left);
  co_return std::move(reports.front());
}

}  // namespace millrace::broker
