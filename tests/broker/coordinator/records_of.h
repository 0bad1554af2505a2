// What a write of the coordinator puts into its log, record by record.
#pragma once

#include <vector>

#include "broker/coordinator/group_coordinator.h"

namespace millrace::coordinator {

inline std::vector<GroupRecord> records_of(const CommittedPositions& commit) {
  std::vector<GroupRecord> records;
  for (const CommittedPositions::Topic& topic : commit.topics) {
    for (const CommittedPositions::Position& position : topic.positions)
      records.push_back(OffsetCommitRecord{commit.group, topic.name, position.partition,
                                           commit.offset_at(topic, position)});
  }
  return records;
}

inline std::vector<GroupRecord> records_of(const Write& write) {
  return write.commit ? records_of(*write.commit) : write.records;
}

}  // namespace millrace::coordinator
