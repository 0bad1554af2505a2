// The committed positions of one group, by topic and partition. A broker holds a million of these, so they
// lie in sorted arrays, one per topic.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/coordinator/group_record.h"

namespace millrace::coordinator {

class GroupOffsets {
 public:
  // In the order of partitions.
  using Partitions = std::vector<std::pair<int32_t, CommittedOffset>>;
  using Topics = std::map<std::string, Partitions, std::less<>>;

  // Null when nothing is committed there.
  const CommittedOffset* find(std::string_view topic, int32_t partition) const;
  void put(std::string_view topic, int32_t partition, CommittedOffset offset);
  // Nothing happens when there is none.
  void erase(std::string_view topic, int32_t partition);

  bool empty() const { return topics_.empty(); }
  // Topics with at least one position each.
  const Topics& topics() const { return topics_; }

 private:
  Topics topics_;
};

}  // namespace millrace::coordinator
