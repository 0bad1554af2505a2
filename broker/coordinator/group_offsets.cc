#include "broker/coordinator/group_offsets.h"

#include <algorithm>
#include <cstring>

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

// std::byte keeps the compiler from comparing more than one at a time.
bool is_same(const Uuid& left, const Uuid& right) {
  return std::memcmp(left.bytes.data(), right.bytes.data(), left.bytes.size()) == 0;
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

std::optional<GroupOffsets::Position> GroupOffsets::pack(Topic& topic, int32_t partition,
                                                         const CommittedOffset& offset) {
  if (!offset.metadata.empty() || offset.expire_timestamp_ms != -1 ||
      offset.commit_timestamp_ms > kMaxTimestampMs || offset.commit_timestamp_ms < -kMaxTimestampMs) {
    return std::nullopt;
  }
  auto id =
      std::ranges::find_if(topic.ids, [&](const Uuid& known) { return is_same(known, offset.topic_id); });
  if (id == topic.ids.end()) {
    if (topic.ids.size() == kMaxTopicIds) return std::nullopt;
    grow(topic.ids);
    id = topic.ids.insert(topic.ids.end(), offset.topic_id);
  }
  return Position{.offset = offset.offset,
                  .commit_timestamp_ms = offset.commit_timestamp_ms,
                  .topic_id = static_cast<uint64_t>(id - topic.ids.begin()) & (kMaxTopicIds - 1),
                  .is_other = 0,
                  .partition = partition,
                  .leader_epoch = offset.leader_epoch};
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
  size_t next = 0;
  put(topic_for(name), next, partition, offset);
}

void GroupOffsets::put(const CommittedPositions& commit) {
  for (const CommittedPositions::Topic& from : commit.topics) {
    Topic& topic = topic_for(from.name);
    size_t next = 0;  // clients name partitions in order, mostly
    for (const CommittedPositions::Position& position : from.positions)
      put(topic, next, position.partition, commit.offset_at(from, position));
  }
}

void GroupOffsets::put(Topic& topic, size_t& next, int32_t partition, const CommittedOffset& offset) {
  const bool is_next = next < topic.positions.size() && topic.positions[next].partition == partition;
  auto at =
      is_next ? topic.positions.begin() + static_cast<ptrdiff_t>(next) : place(topic.positions, partition);
  next = static_cast<size_t>(at - topic.positions.begin()) + 1;
  if (at == topic.positions.end() || at->partition != partition) {
    const auto index = at - topic.positions.begin();
    grow(topic.positions);
    at = topic.positions.insert(topic.positions.begin() + index, Position{.partition = partition});
    bytes_ += sizeof(Position);
  }
  const auto packed = pack(topic, partition, offset);
  if (at->is_other) bytes_ -= other_bytes(topic.others->at(partition).metadata.size());
  if (at->is_other && packed) topic.others->erase(partition);
  if (packed) {
    *at = *packed;
    return;
  }
  at->is_other = 1;
  if (!topic.others) topic.others = std::make_unique<std::map<int32_t, CommittedOffset>>();
  topic.others->insert_or_assign(partition, offset);
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
