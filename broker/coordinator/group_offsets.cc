#include "broker/coordinator/group_offsets.h"

#include <algorithm>

namespace millrace::coordinator {
namespace {

constexpr int64_t kMaxTimestampMs = (int64_t{1} << 47) - 1;
constexpr size_t kMaxTopicIds = size_t{1} << 15;

// Of a position that is among the others, besides its place.
size_t other_bytes(size_t metadata_size) {
  return kNodeBytes + sizeof(CommittedOffset) + text_bytes(metadata_size);
}

template <class P>
auto place(P& positions, int32_t partition) {
  return std::ranges::lower_bound(positions, partition, {},
                                  [](const auto& position) { return position.partition; });
}

// A quarter more than it has, not twice as much: most arrays are as long as they will ever be.
template <class T>
void grow(std::vector<T>& array) {
  if (array.size() == array.capacity()) array.reserve(array.size() + array.size() / 4 + 1);
}

}  // namespace

GroupOffsets::Topics::const_iterator GroupOffsets::lower_bound(std::string_view name) const {
  return std::ranges::lower_bound(topics_, name, {},
                                  [](const Topic& topic) { return std::string_view(topic.name); });
}

GroupOffsets::Topics::const_iterator GroupOffsets::find_topic(std::string_view name) const {
  const auto found = lower_bound(name);
  return found != topics_.end() && found->name == name ? found : topics_.end();
}

size_t GroupOffsets::bytes_of_position(size_t metadata_size) {
  return sizeof(Position) + (metadata_size == 0 ? 0 : other_bytes(metadata_size));
}

CommittedOffset GroupOffsets::value(const Topic& topic, const Position& position) {
  if (position.is_other) return topic.others->at(position.partition);
  CommittedOffset offset;
  offset.offset = position.offset;
  offset.commit_timestamp_ms = position.commit_timestamp_ms;
  offset.leader_epoch = position.leader_epoch;
  offset.topic_id = topic.ids[position.topic_id];
  return offset;
}

std::optional<CommittedOffset> GroupOffsets::find(std::string_view topic, int32_t partition) const {
  const auto found = find_topic(topic);
  if (found == topics_.end()) return std::nullopt;
  const auto at = place(found->positions, partition);
  if (at == found->positions.end() || at->partition != partition) return std::nullopt;
  return value(*found, *at);
}

std::optional<GroupOffsets::Shared> GroupOffsets::share(Topic& topic, const CommittedOffset& offset) {
  if (offset.expire_timestamp_ms != -1 || offset.commit_timestamp_ms > kMaxTimestampMs ||
      offset.commit_timestamp_ms < -kMaxTimestampMs) {
    return std::nullopt;
  }
  auto id = std::ranges::find(topic.ids, offset.topic_id);
  if (id == topic.ids.end()) {
    if (topic.ids.size() == kMaxTopicIds) return std::nullopt;
    grow(topic.ids);
    id = topic.ids.insert(topic.ids.end(), offset.topic_id);
  }
  return Shared{offset.commit_timestamp_ms, static_cast<uint64_t>(id - topic.ids.begin())};
}

// Which is made if it isn't there: the caller puts a position into it.
GroupOffsets::Topic& GroupOffsets::topic_for(std::string_view name) {
  auto topic = std::ranges::lower_bound(topics_, name, {},
                                        [](const Topic& one) { return std::string_view(one.name); });
  if (topic == topics_.end() || topic->name != name) {
    topic = topics_.insert(topic, Topic{std::string(name), {}, {}, nullptr});
    bytes_ += bytes_of_topic(name);
  }
  return *topic;
}

void GroupOffsets::put(std::string_view name, int32_t partition, const CommittedOffset& offset) {
  Topic& topic = topic_for(name);
  Position& at = position_for(topic, place(topic.positions, partition), partition);
  const auto shared = offset.metadata.empty() ? share(topic, offset) : std::nullopt;
  if (shared) return put_packed(topic, at, *shared, offset.leader_epoch, offset.offset);
  put_other(topic, at, offset);
}

void GroupOffsets::put(const CommittedPositions& commit) {
  for (const CommittedPositions::Topic& from : commit.topics) {
    Topic& topic = topic_for(from.name);
    const auto is_bare = [](const auto& position) { return position.metadata.empty(); };
    const auto shared = std::ranges::any_of(from.positions, is_bare)
                            ? share(topic, commit.offset_at(from, {}))
                            : std::nullopt;
    Position* next = topic.positions.data();  // clients name partitions in order, mostly
    for (const CommittedPositions::Position& position : from.positions) {
      const bool is_next =
          next != topic.positions.data() + topic.positions.size() && next->partition == position.partition;
      Position& at =
          is_next ? *next
                  : position_for(topic, place(topic.positions, position.partition), position.partition);
      next = &at + 1;
      if (shared && is_bare(position)) {
        put_packed(topic, at, *shared, position.leader_epoch, position.offset);
      } else {
        put_other(topic, at, commit.offset_at(from, position));
      }
    }
  }
}

GroupOffsets::Position& GroupOffsets::position_for(Topic& topic, std::vector<Position>::iterator where,
                                                   int32_t partition) {
  if (where != topic.positions.end() && where->partition == partition) return *where;
  const auto index = where - topic.positions.begin();
  grow(topic.positions);
  bytes_ += sizeof(Position);
  return *topic.positions.insert(topic.positions.begin() + index, Position{.partition = partition});
}

void GroupOffsets::put_packed(Topic& topic, Position& at, const Shared& shared, int32_t leader_epoch,
                              int64_t offset) {
  if (at.is_other) {
    bytes_ -= other_bytes(topic.others->at(at.partition).metadata.size());
    topic.others->erase(at.partition);
  }
  at = Position{.offset = offset,
                .commit_timestamp_ms = shared.commit_timestamp_ms,
                .topic_id = shared.topic_id & (kMaxTopicIds - 1),
                .is_other = 0,
                .partition = at.partition,
                .leader_epoch = leader_epoch};
}

void GroupOffsets::put_other(Topic& topic, Position& at, const CommittedOffset& offset) {
  if (at.is_other) bytes_ -= other_bytes(topic.others->at(at.partition).metadata.size());
  at.is_other = 1;
  if (!topic.others) topic.others = std::make_unique<std::map<int32_t, CommittedOffset>>();
  topic.others->insert_or_assign(at.partition, offset);
  bytes_ += other_bytes(offset.metadata.size());
}

void GroupOffsets::erase(std::string_view name, int32_t partition) {
  const auto found = find_topic(name);
  if (found == topics_.end()) return;
  Topic& topic = topics_[static_cast<size_t>(found - topics_.begin())];
  const auto at = place(topic.positions, partition);
  if (at == topic.positions.end() || at->partition != partition) return;
  if (at->is_other) {
    bytes_ -= other_bytes(topic.others->at(partition).metadata.size());
    topic.others->erase(partition);
  }
  topic.positions.erase(at);
  bytes_ -= sizeof(Position);
  if (!topic.positions.empty()) return;
  bytes_ -= bytes_of_topic(topic.name);
  topics_.erase(found);
}

void GroupOffsets::shrink() {
  topics_.shrink_to_fit();
  for (Topic& topic : topics_) topic.positions.shrink_to_fit();
}

}  // namespace millrace::coordinator
