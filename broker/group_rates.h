// How fast a group goes, and how many members it could use: from looks at its positions, some time apart.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "protocol/topic_partition.h"

namespace millrace::broker {

// One position of a group at one time.
struct Mark {
  TopicIdPartition place;
  int64_t committed = 0;
  int64_t end = 0;
  // Timestamp of the oldest unread record; -1: not known, or there is none.
  int64_t oldest_unread_ms = -1;
  // Up to where a compacted log has been compacted: it moves when compaction may have taken that record. -1
  // in others.
  int64_t clean_end = -1;
  // Of the clock of GroupHistory, which fills it in.
  int64_t at_ms = 0;
};

struct Rates {
  // Records per second that were appended, and that the group went on by.
  double in = 0;
  double out = 0;
};

// The looks at one group that rates are made of. Time is of a monotonic clock.
class GroupHistory {
 public:
  // Rates are over the last one to two of these, if anybody looked then.
  static constexpr int64_t kWindowMs = 30'000;
  // Over less they would say more about when members commit than about how fast they are.
  static constexpr int64_t kLeastMs = 1'000;

  // Marks in the order of places.
  void add(int64_t now_ms, std::vector<Mark> marks);
  // Of the last look's position. Begins anew, with nothing, when somebody has moved the group back, or the
  // log.
  std::optional<Rates> rates(const TopicIdPartition& place) const;
  // What the last look found there; null if it found nothing.
  const Mark* last(const TopicIdPartition& place) const { return find(last_, place); }
  int64_t last_ms() const { return last_.at_ms; }
  size_t size() const { return last_.marks.size(); }

 private:
  struct Look {
    int64_t at_ms = 0;
    std::vector<Mark> marks;
  };
  static const Mark* find(const Look& look, const TopicIdPartition& place);
  // Lets the look have a mark that the last one can be compared with, for every position.
  void begin_anew(Look& look) const;

  // Between the two lies the window's length at least, but at the beginning, when both are the first look.
  Look older_;
  Look newer_;
  Look last_;
  bool begun_ = false;
};

struct Demand {
  int64_t members = 0;
  // Of all topics that the group reads.
  int64_t partitions = 0;
  int64_t lagging_partitions = 0;
  int64_t lag = 0;
  std::optional<Rates> rates;
};

// How many more members would help, for an autoscaler: enough to keep up with what comes in and to read what
// is behind within a minute, if each reads as fast as those that are there. Never so many that one would have
// no partition, or none that is behind; so 0 when nothing is behind. A group that stands still gets that
// bound; with members whose speed isn't known yet the answer is 0.
int64_t useful_members(const Demand& demand);

}  // namespace millrace::broker
