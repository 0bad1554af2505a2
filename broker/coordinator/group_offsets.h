// The committed positions of one group, by topic and partition. A broker holds a million of these, so each is
// 24 bytes in a sorted array, one per topic; only those that say more than most do take more.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/coordinator/group_memory.h"
#include "broker/coordinator/group_record.h"

namespace millrace::coordinator {

class GroupOffsets {
 public:
  // Nothing when nothing is committed there.
  std::optional<CommittedOffset> find(std::string_view topic, int32_t partition) const;
  void put(std::string_view topic, int32_t partition, const CommittedOffset& offset);
  void put(const CommittedPositions& commit);
  // Nothing happens when there is none.
  void erase(std::string_view topic, int32_t partition);

  bool empty() const { return topics_.empty(); }
  // What it takes, roughly.
  size_t bytes() const { return bytes_; }
  // What one more position may take, with so much metadata.
  static size_t bytes_of_position(size_t metadata_size);
  static size_t bytes_of_topic(std::string_view name) { return sizeof(Topic) + text_bytes(name); }

  // fn(topic, partition, committed offset) in the order of topics and partitions. It must not change anything
  // here.
  template <class F>
  void for_each(F&& fn) const {
    for (const Topic& topic : topics_) for_each_in(topic, fn);
  }
  // fn(partition, committed offset) for those of one topic.
  template <class F>
  void for_each_in(std::string_view topic, F&& fn) const {
    const auto found = find_topic(topic);
    if (found == topics_.end()) return;
    for_each_in(*found, [&](std::string_view, int32_t partition, const CommittedOffset& offset) {
      fn(partition, offset);
    });
  }

  // As for_each, from the first position at or after this partition of this topic on, for as long as fn
  // returns true.
  template <class F>
  void for_each_from(std::string_view topic, int32_t partition, F&& fn) const {
    for (auto at = lower_bound(topic); at != topics_.end(); ++at) {
      for (const Position& position : at->positions) {
        if (at->name == topic && position.partition < partition) continue;
        if (!fn(std::string_view(at->name), position.partition, value(*at, position))) return;
      }
    }
  }

  // Gives back the memory that was meant for more: after a replay.
  void shrink();

 private:
  struct Position {
    int64_t offset;
    int64_t commit_timestamp_ms : 48;
    uint64_t topic_id : 15;  // its place in the topic's ids
    uint64_t is_other : 1;   // it is among the others of its topic: this says only that it exists
    int32_t partition;
    int32_t leader_epoch;
  };
  static_assert(sizeof(Position) == 24);

  struct Topic {
    std::string name;
    std::vector<Uuid> ids;  // under which it was committed to; seldom more than one
    std::vector<Position> positions;
    // With metadata, an expiry of their own, or whatever else doesn't fit.
    std::unique_ptr<std::map<int32_t, CommittedOffset>> others;
  };
  using Topics = std::vector<Topic>;

  Topics::const_iterator lower_bound(std::string_view name) const;
  Topics::const_iterator find_topic(std::string_view name) const;
  Topic& topic_for(std::string_view name);
  // What the positions in a topic that one request commits have in common.
  struct Shared {
    int64_t commit_timestamp_ms;
    uint64_t topic_id;
  };
  // Gives the topic's id a place. Nothing if they have to be among the others.
  static std::optional<Shared> share(Topic& topic, const CommittedOffset& offset);
  // Which is made if it isn't there; `where` it is or belongs.
  Position& position_for(Topic& topic, std::vector<Position>::iterator where, int32_t partition);
  void put_packed(Topic& topic, Position& at, const Shared& shared, int32_t leader_epoch, int64_t offset);
  void put_other(Topic& topic, Position& at, const CommittedOffset& offset);
  static CommittedOffset value(const Topic& topic, const Position& position);
  template <class F>
  static void for_each_in(const Topic& topic, F&& fn) {
    for (const Position& position : topic.positions)
      fn(std::string_view(topic.name), position.partition, value(topic, position));
  }

  size_t bytes_ = 0;
  Topics topics_;  // in the order of names, each with a position at least
};

}  // namespace millrace::coordinator
