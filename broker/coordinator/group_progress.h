// How far a group is: what its coordinator knows of it, copied for whoever watches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace millrace::coordinator {

struct GroupProgress {
  struct Topic {
    std::string name;
    // Partition and committed offset, in order.
    std::vector<std::pair<int32_t, int64_t>> offsets;
  };

  std::string name;
  std::string state;
  std::string type;           // "classic" or "consumer"
  std::string protocol_type;  // "consumer" for consumers of either type
  size_t members = 0;
  std::set<std::string> subscribed;  // topics, as far as the members tell
  // Classic consumers in their first rebalance: what they are subscribed to isn't known yet.
  bool subscription_unknown = false;
  std::vector<Topic> topics;  // with commits, in order

  size_t position_count() const {
    size_t count = 0;
    for (const Topic& topic : topics) count += topic.offsets.size();
    return count;
  }
};

}  // namespace millrace::coordinator
